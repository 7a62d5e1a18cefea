"""`egress fallback on|off|auto`: what is asked of netd, and what a person hears."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance import ipc
from appliance.cli import fallback
from appliance.cli.status import NOT_RUNNING
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused


@pytest.fixture
def netd(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Its answer, which a test may change; `asked` is what it was asked."""
    answer: dict[str, Any] = {"ok": True, "fallback": "stands by", "fallback_ready": True}

    def ask(_settings: Settings, name: str, message: ipc.Message) -> ipc.Message:
        answer["asked"] = (name, message)
        return {key: value for key, value in answer.items() if key != "asked"}

    monkeypatch.setattr(fallback, "ask_process", ask)
    return answer


@pytest.mark.parametrize("mode", ["on", "off", "auto"])
def test_a_mode_is_set(egress: Egress, netd: dict[str, Any], mode: str) -> None:
    result = egress("fallback", mode)
    assert (result.exit_code, result.output) == (0, "fallback: stands by\n")
    assert netd["asked"] == ("netd", {"op": "fallback", "mode": mode})
    document = json.loads(egress("--json", "fallback", mode).stdout)
    assert document == {"fallback": "stands by", "fallback_ready": True}


def test_there_is_no_other(egress: Egress, netd: dict[str, Any]) -> None:
    assert egress("fallback", "maybe").exit_code == 2
    assert "asked" not in netd


def test_on_without_squid_is_told(egress: Egress, netd: dict[str, Any]) -> None:
    netd["fallback_ready"] = False
    refused(egress("fallback", "on"), "squid does not serve, so nothing passes now")
    assert egress("fallback", "off").exit_code == 0


def test_who_cannot(egress: Egress, netd: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    netd.update(ok=False, error="not-applied", detail="nft refused")
    refused(egress("fallback", "on"), "the fallback stays as it was: nft refused")
    netd.update(error=NOT_RUNNING)
    refused(egress("fallback", "on"), "netd is not running")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(egress("fallback", "on"), "needs root; run: sudo egress fallback")


def test_an_instance_without(egress: Egress, netd: dict[str, Any], settings_file: Any) -> None:
    settings_file.write_text(json.dumps({**json.loads(settings_file.read_text()), "fallback": False}))
    refused(egress("fallback", "on"), "this instance has no fallback; remove `fallback: false`")
    assert "asked" not in netd
