from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance.gateway.opening import Admitted, judge_hello
from appliance.names import Authority
from appliance.refusal import Refusal
from appliance.tls.clienthello import ClientHello

from .support import SITE, web_policy

HELLO = ClientHello(b"Site.NET", (b"http/1.1",), ech=False, versions=(0x0304,))
CONNECT = Authority(SITE, 443)


def judged(name: bytes | None, authority: Authority | None = None, port: int = 443, policy=None):
    return judge_hello(replace(HELLO, server_name=name), authority, port, policy or web_policy())


def test_a_public_name_is_admitted() -> None:
    assert judged(b"Site.NET") == Admitted(SITE, 443)
    assert judged(b"site.net", CONNECT, 3128) == Admitted(SITE, 443)


@pytest.mark.parametrize(
    ("name", "authority", "reason"),
    [
        (None, None, "no-server-name"),
        (None, CONNECT, "no-server-name"),
        (b"93.184.215.14", None, "server-name-invalid"),
        (b"0x5db8d70e", None, "server-name-invalid"),
        (b"ok.net\0.evil.net", None, "server-name-invalid"),
        (b"*.net", None, "server-name-invalid"),
        (b"evil.net", CONNECT, "server-name-mismatch"),
        (b"site.net", Authority(IPv4Address("93.184.215.14"), 443), "server-name-mismatch"),
    ],
)
def test_what_ends_before_tls_d3_d12(name, authority, reason) -> None:
    decision = judged(name, authority)
    assert isinstance(decision, Refusal)
    assert decision.reason == reason


@pytest.mark.parametrize(
    ("name", "port", "reason"),
    [
        (b"router.local", 443, "name-not-public"),
        (b"site.net", 22, "port-not-allowed"),
        (b"gateway.egress.internal", 443, "own-address"),
    ],
)
def test_a_denied_name_is_told_inside_tls(name, port, reason) -> None:
    decision = judged(name, port=port)
    assert isinstance(decision, Admitted)
    assert decision.standing is not None
    assert decision.standing.reason == reason
    assert decision.standing.closes
    assert not decision.passthrough


def test_passthrough_is_for_the_named_host_alone() -> None:
    policy = web_policy(passthrough={("site.net", 443): "operator.yaml:1"})
    assert judged(b"site.net", policy=policy).passthrough
    assert not judged(b"other.net", policy=policy).passthrough


def test_an_encrypted_inner_name_is_not_passed_on_unread_d6() -> None:
    decision = judge_hello(
        replace(HELLO, ech=True), None, 443, web_policy(passthrough={("site.net", 443): "operator.yaml:1"})
    )
    assert isinstance(decision, Refusal)
    assert decision.reason == "encrypted-server-name"


def test_an_encrypted_inner_name_changes_nothing_d6() -> None:
    assert judge_hello(replace(HELLO, ech=True), None, 443, web_policy()) == Admitted(SITE, 443)
