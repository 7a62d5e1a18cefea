"""`egress doctor` looks and changes nothing; each fault has its mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import docker_host, ipc
from appliance.cli import doctor, status
from appliance.cli.doctor import drift
from appliance.docker_host import ApplianceNetwork, DockerUnavailable
from appliance.preflight import Check
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """A running appliance; what it was asked."""
    seen: list[tuple[str, Any]] = []

    def answer(_settings: Settings, name: str, message: ipc.Message) -> ipc.Message:
        seen.append((name, message["op"]))
        if message["op"] == "drift":
            return {"ok": True, "steps": []}
        if message["op"] == "vault-status":
            return {"ok": True, "state": "open", "source": "key-file", "secrets": 1}
        return {"ok": True, "ready": True, "repairs": 1}

    monkeypatch.setattr(status, "ask_process", answer)
    monkeypatch.setattr(doctor, "ask_process", answer)
    monkeypatch.setattr(doctor.preflight, "before_up", lambda _settings: [])
    monkeypatch.setattr(docker_host, "admission_enabled", lambda _settings: True)
    monkeypatch.setattr(docker_host, "networks", lambda _settings: [])
    monkeypatch.setattr(docker_host, "has_image", lambda _settings, _image: False)
    return seen


def test_down(egress: Egress) -> None:
    result = egress("doctor")
    assert result.exit_code == 1
    assert "FAIL  appliance: not running\n      mend: egress up\n" in result.output
    assert "process netd" not in result.output


def test_only_root_sees_all(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(egress("doctor"), "needs root; run: sudo egress doctor")


def test_well(egress: Egress, asked: list[tuple[str, Any]]) -> None:
    result = egress("doctor")
    assert result.exit_code == 0, result.output
    assert "rules and links: compared just now: as desired; 1 repair since netd started" in result.output
    assert "egress/runner-python is not here; to build it: make images" in result.output
    assert {operation for _name, operation in asked} == {
        "status",
        "vault-status",
        "drift",
    }  # nothing that repairs
    assert "ok    vault: open, 1 secret\n" in result.output


def test_for_a_machine(egress: Egress, asked: list[tuple[str, Any]]) -> None:
    checks = json.loads(egress("--json", "doctor").stdout)
    assert all(set(check) == {"name", "ok", "detail", "mend", "warns"} for check in checks)


def test_a_vault_that_is_not_open_is_told() -> None:
    locked = doctor.vault({"ok": True, "state": "locked", "secrets": 3})
    assert (locked.ok, locked.warns, locked.mend) == (True, True, "egress vault unlock")
    assert "locked" in locked.detail
    assert "no passphrase yet" in doctor.vault({"ok": True, "state": "new"}).detail
    failed = doctor.vault({"ok": False, "error": "vault-unreadable", "detail": "the vault's database fails"})
    assert (failed.ok, failed.detail) == (False, "the vault's database fails")
    assert "restore it from a backup" in failed.mend


def test_drift_is_told() -> None:
    found = drift({"ok": True, "steps": ["set link uplink up", "replace nft table inet egress"]}, 0)
    assert not found.ok
    assert "2 differences: set link uplink up; replace nft table inet egress (0 repairs" in found.detail
    assert found.mend
    assert not drift({"ok": False, "error": "not-readable", "detail": "no netlink"}, 0).ok


def test_a20_the_last_repairs_are_told_with_who_made_them_necessary() -> None:
    told = [
        {"time": f"2026-01-01T00:00:0{9 - n}Z", "repair": f"replace {n} (by nft (pid 7))", "steps": 1}
        for n in range(5)
    ]
    checks = list(doctor.repaired({"ok": True, "recent_repairs": told}))
    assert [c.name for c in checks] == [f"repaired 2026-01-01T00:00:0{s}Z" for s in (9, 8, 7)]
    assert checks[0] == Check("repaired 2026-01-01T00:00:09Z", ok=True, detail="replace 0 (by nft (pid 7))")
    assert list(doctor.repaired({"ok": True})) == []


def failing(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in doctor.running(settings) if not check.ok}


def test_a_process_that_is_not_ready(
    settings: Settings, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, ipc.Message] = {
        "netd": {"ok": True, "ready": False, "problem": "nft refused"},
        "gateway-0": {"ok": True, "ready": True, "policy_error": "acme.yaml:1:1: no"},
        "supervisor": {"ok": False, "error": status.NOT_RUNNING, "detail": "supervisor does not run"},
    }
    monkeypatch.setattr(
        status, "ask_process", lambda _s, name, _m: answers.get(name, {"ok": True, "ready": True})
    )
    found = failing(settings)
    assert found["process netd"].detail == "nft refused"
    assert "supervisor.log" in found["process netd"].mend
    assert found["policy of gateway-0"].detail == "acme.yaml:1:1: no"
    assert (found["appliance"].detail, found["appliance"].mend) == (
        "its supervisor is gone, the rest serves on",
        "egress up",
    )
    assert "process supervisor" not in found


def test_docker(
    settings: Settings,
    asked: list[tuple[str, Any]],
    tenant: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant("acme")
    monkeypatch.setattr(docker_host, "admission_enabled", lambda _settings: False)
    found = [ApplianceNetwork(n, "id", n, "172.18.0.0/16", ()) for n in ("acme", "ghost")]
    monkeypatch.setattr(docker_host, "networks", lambda _settings: found)
    faults = failing(settings)
    assert set(faults) == {"admission plugin", "network ghost"}
    assert str(settings.docker.daemon_json) in faults["admission plugin"].mend
    assert "docker network rm ghost" in faults["network ghost"].mend

    def gone(_settings: Settings) -> bool:
        raise DockerUnavailable("no engine")

    monkeypatch.setattr(docker_host, "admission_enabled", gone)
    assert failing(settings)["Docker"].mend == "start Docker"


def test_a_fallback_that_serves_is_a_fault_with_its_history() -> None:
    flips = [{"time": "2026-01-01T00:00:00Z", "flip": "gateway-0 to the fallback: worker-gone"}]
    answer: ipc.Message = {
        "fallback": "serves gateway-0", "fallback_mode": "auto", "fallback_serves": ["gateway-0"], "recent_flips": flips,
    }  # fmt: skip
    serving, flip = doctor.fallback(answer)
    assert (serving.ok, serving.detail) == (False, "serves gateway-0")
    assert "ends when they are ready" in serving.mend
    assert flip == Check("fallback 2026-01-01T00:00:00Z", ok=True, detail=flips[0]["flip"])
    (forced,) = doctor.fallback({"fallback": "stands by", "fallback_mode": "off", "fallback_serves": []})
    assert (forced.ok, forced.mend) == (False, "egress fallback auto")
    (idle,) = doctor.fallback({"fallback": "stands by", "fallback_mode": "auto", "fallback_serves": []})
    assert idle.ok
    assert list(doctor.fallback({})) == []


def test_a_warning_has_its_mend_and_is_no_failure(
    asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch, egress: Egress
) -> None:
    warning = Check("vsock", ok=True, warns=True, detail="there is a channel", mend="close it")
    monkeypatch.setattr(doctor.preflight, "before_up", lambda _settings: [warning])
    done = egress("doctor")
    assert done.exit_code == 0
    assert "warn  vsock: there is a channel\n      mend: close it\n" in done.output
