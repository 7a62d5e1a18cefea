"""The evaluator on upgrades: a WebSocket by its own rule, and no other protocol by any."""

from __future__ import annotations

import pytest

from appliance.policy.tenant import Profile
from appliance.policy.verdict import Reason
from tests.unit.policy.test_tenant import LISTED, READ_ONLY, reason
from tests.unit.policy.written import compiled, host, request


def test_an_upgrade_is_denied_e12_e13() -> None:
    assert reason(READ_ONLY, "https://ok.example.com/", upgrade="websocket") is Reason.UPGRADE_NOT_ALLOWED
    api = "https://api.example.com/v1/a/items"
    assert reason(LISTED, api) is Reason.ALLOWED_BY_RULE
    assert reason(LISTED, api, upgrade="websocket") is Reason.UPGRADE_NOT_ALLOWED


SOCKETS = """
    profile: %s
    rules:
      - name: live
        hosts: [live.example.com]
        paths: [/feed]
        query: [room]
        upgrade: websocket
        subprotocols: [chat, superchat]
        max_body: 1KiB
    """
FEED = "https://live.example.com/feed"


@pytest.mark.parametrize("profile", Profile)
def test_a_rule_with_upgrade_allows_a_websocket_e13(profile: Profile) -> None:
    policy = compiled(SOCKETS % profile)
    verdict = policy.judge(request(FEED + "?room=1", upgrade="websocket", subprotocols=("chat",)))
    assert (verdict.reason, verdict.upgrade, verdict.max_body) == ("allowed-by-rule", "websocket", 1024)
    assert policy.judge(request(FEED, upgrade="websocket")).allowed
    assert policy.judge_host("https", host("live.example.com"), 443).allowed
    for url, more, expected in (
        (FEED, {"upgrade": "h2c"}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket, h2c"}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": ""}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "subprotocols": ("chat", "mqtt")}, Reason.SUBPROTOCOL_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "subprotocols": ("",)}, Reason.SUBPROTOCOL_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "method": "HEAD"}, Reason.UPGRADE_NOT_ALLOWED),
        (FEED, {"upgrade": "websocket", "content_length": 1}, Reason.BODY_NOT_ALLOWED),
    ):
        assert reason(policy, url, **more) is expected
    for url in (FEED + "?x=1", FEED + "/x", "http://live.example.com/feed", "https://x.example.com/feed"):
        assert not policy.judge(request(url, upgrade="websocket")).allowed
        assert reason(compiled(SOCKETS % "read-only-web"), url, upgrade="websocket") in {
            Reason.UPGRADE_NOT_ALLOWED, Reason.SCHEME_NOT_ALLOWED,
        }  # fmt: skip


def test_and_nothing_else() -> None:
    """One page that may be read, and one that may be spoken to, are two rules."""
    policy = compiled(SOCKETS % "allowlist")
    assert reason(policy, FEED) is Reason.UPGRADE_REQUIRED
    assert "opens no WebSocket" in policy.judge(request(FEED)).detail
    assert reason(policy, FEED, "POST") is Reason.METHOD_NOT_ALLOWED
    assert compiled(SOCKETS % "read-only-web").judge(request(FEED)).upgrade is None


def test_what_may_be_sent_in_a_websocket_is_bounded_by_the_cap() -> None:
    policy = compiled("""
        caps: {request_body: 10B}
        rules: [{name: up, hosts: [a.example.com], upgrade: websocket}]
        """)
    assert policy.judge(request("https://a.example.com/", upgrade="websocket")).max_body == 10


def test_no_exception_and_no_deny_rule_is_passed_by_an_upgrade() -> None:
    policy = compiled(
        """
        rules:
          - {name: live, hosts: [live.example.com], upgrade: websocket}
          - {name: not there, effect: deny, hosts: [live.example.com], paths: [/admin/**]}
        """,
        "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443, name: db.example.com}]",
    )
    assert (
        reason(policy, "https://live.example.com/admin/x", upgrade="websocket")
        is Reason.REQUEST_DENIED_BY_RULE
    )
    assert policy.judge(request("https://db.example.com/")).allowed
    assert reason(policy, "https://db.example.com/", upgrade="websocket") is Reason.UPGRADE_NOT_ALLOWED
