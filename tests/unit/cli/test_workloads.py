"""A container is refused at the broker, and taken back."""

from __future__ import annotations

import json
import os

import pytest

from appliance.cli import workloads
from tests.unit.cli.typed import Egress, refused

WHICH = ("c0ffee", "--tenant", "acme")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, as_root: None) -> dict:
    answer: dict = {"ok": True, "workload": "c0ffee", "was_disabled": True}
    asked: list = []
    monkeypatch.setattr(workloads, "ask_process", lambda _settings, *found: asked.append(found) or answer)
    answer["asked"] = asked
    return answer


def test_it_is_disabled_and_enabled(egress: Egress, answers: dict) -> None:
    assert egress("workload", "disable", *WHICH).output == "c0ffee of tenant acme: disabled\n"
    assert egress("workload", "enable", *WHICH).output == "c0ffee of tenant acme: enabled\n"
    asked = {"tenant": "acme", "workload": "c0ffee"}
    assert answers["asked"] == [
        ("broker", {"op": "workload-disable"} | asked), ("broker", {"op": "workload-enable"} | asked),
    ]  # fmt: skip
    answers["was_disabled"] = False
    assert "was not disabled" in egress("workload", "enable", *WHICH).output
    answers["asked"].clear()
    assert json.loads(egress("--json", "workload", "disable", *WHICH).output)["workload"] == "c0ffee"


def test_a_broker_that_refuses_or_is_down_is_one_message(egress: Egress, answers: dict) -> None:
    answers |= {"ok": False, "error": "invalid-request", "detail": "no name"}
    refused(egress("workload", "disable", *WHICH), "invalid-request: no name")
    answers["error"] = workloads.NOT_RUNNING
    refused(egress("workload", "enable", *WHICH), workloads.DOWN)


def test_root_alone(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused(egress("workload", "disable", *WHICH), "root")
