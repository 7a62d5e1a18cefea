"""Keys of callers: printed once, alone on standard output; listed without what they prove."""

from __future__ import annotations

import json
import os

import pytest

from appliance.cli import callers
from tests.unit.cli.typed import Egress, refused

KEY = "egk_0123456789abcdef_" + "A" * 43
WHO = ("ci", "--tenant", "acme")
LISTED = {
    "id": "0123456789abcdef", "tenant": "acme", "actor": "ci", "scopes": ["openai:read", "openai:write"],
    "created_at": 1, "expires_at": 86400 * 365, "revoked_at": None, "active": True,
}  # fmt: skip


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, as_root: None) -> dict:
    answer: dict = {
        "ok": True, "id": LISTED["id"], "key": KEY, "older": "f" * 16, "was_active": True, "was_ended": True,
        "ended": [{"tenant": "acme", "principal": "jwt:alice"}],
        "keys": [
            LISTED, {**LISTED, "expires_at": None, "revoked_at": 5, "active": False},
            {**LISTED, "active": False},
        ],
    }  # fmt: skip
    asked: list = []
    monkeypatch.setattr(callers, "ask_process", lambda _settings, *found: asked.append(found) or answer)
    answer["asked"] = asked
    return answer


def test_002_22_a_new_key_stands_alone_on_standard_output(egress: Egress, answers: dict) -> None:
    done = egress("caller", "add", *WHO, "--scope", "openai:write", "--scope", "repo", "--expires", "90")
    assert done.stdout == f"{KEY}\n"
    assert "shown this once" in done.stderr
    wish = {"op": "caller-add", "tenant": "acme", "actor": "ci", "scopes": ["openai:write", "repo"]}
    assert answers["asked"] == [("broker", wish | {"seconds": 90 * 86400})]
    without = egress("caller", "add", *WHO)
    assert answers["asked"][-1][1]["seconds"] is None
    assert without.stdout == f"{KEY}\n"
    assert "no call is allowed" in without.stderr


def test_002_22_rotation_says_which_key_is_to_be_revoked(egress: Egress, answers: dict) -> None:
    done = egress("caller", "rotate", *WHO)
    assert done.stdout == f"{KEY}\n"
    assert f"egress caller revoke {'f' * 16}" in done.stderr
    assert egress("caller", "revoke", "f" * 16).output == f"{'f' * 16}: revoked\n"
    answers["was_active"] = False
    assert "already" in egress("caller", "revoke", "f" * 16).output
    assert [message["op"] for _, message in answers["asked"]] == ["caller-rotate", *["caller-revoke"] * 2]


def test_keys_and_who_was_ended_are_listed(egress: Egress, answers: dict) -> None:
    text = egress("caller", "list").output
    for word in (
        "0123456789abcdef",
        "openai:read openai:write",
        "active",
        "revoked",
        "expired",
        "1971-01-01",
    ):
        assert word in text
    assert "ended: jwt:alice of tenant acme" in text
    assert json.loads(egress("caller", "list", "--tenant", "acme", "--json").output)["keys"][0] == LISTED
    assert answers["asked"][-1][1] == {"op": "caller-list", "tenant": "acme"}


def test_who_was_ended_is_taken_back(egress: Egress, answers: dict) -> None:
    taken = egress("caller", "readmit", "jwt:alice", "--tenant", "acme")
    assert taken.output == "jwt:alice of tenant acme: taken back\n"
    answers["was_ended"] = False
    assert "was not ended" in egress("caller", "readmit", "jwt:alice", "--tenant", "acme").output
    assert json.loads(egress("--json", "caller", "add", *WHO, "--scope", "a").stdout)["key"] == KEY


def test_a_broker_that_refuses_or_is_down_is_one_message(egress: Egress, answers: dict) -> None:
    answers |= {"ok": False, "error": "api_key_limit", "detail": "two are active"}
    refused(egress("caller", "add", *WHO), "api_key_limit: two are active")
    answers["error"] = callers.NOT_RUNNING
    refused(egress("caller", "list"), callers.DOWN)


def test_root_alone(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused(egress("caller", "list"), "root")
