"""Which containers hold handles, and nothing that would be one."""

from __future__ import annotations

import json
import os

import pytest

from appliance.cli import handles
from tests.unit.cli.typed import Egress, refused

LISTED = [{"tenant": "acme", "endpoint": "e1", "account": "crm", "live": 2, "oldest_seconds": 3.4}]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, as_root: None) -> dict:
    answer: dict = {"ok": True, "handles": LISTED}
    asked: list = []
    monkeypatch.setattr(handles, "ask_process", lambda _settings, *found: asked.append(found) or answer)
    answer["asked"] = asked
    return answer


def test_they_are_listed_for_people_and_machines(egress: Egress, answers: dict) -> None:
    result = egress("handle", "list")
    assert result.exit_code == 0
    assert result.output.splitlines()[1].split() == ["acme", "e1", "crm", "2", "3", "s"]
    assert json.loads(egress("handle", "list", "--json").output) == LISTED
    assert json.loads(egress("--json", "handle", "list").output) == LISTED
    assert answers["asked"][0] == ("broker", {"op": "handle-list"})


def test_a_broker_that_refuses_or_is_down_is_one_message(egress: Egress, answers: dict) -> None:
    answers |= {"ok": False, "error": "internal", "detail": "it failed"}
    refused(egress("handle", "list"), "internal: it failed")
    answers["error"] = handles.NOT_RUNNING
    refused(egress("handle", "list"), handles.DOWN)


def test_root_alone(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused(egress("handle", "list"), "root")
