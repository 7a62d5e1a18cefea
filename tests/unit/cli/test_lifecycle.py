"""`egress up` begins only when everything is there, and says which process kept it waiting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import docker_host, preflight
from appliance.cli import lifecycle
from appliance.cli.failures import Failure
from appliance.cli.lifecycle import not_ready
from appliance.docker_host import ApplianceNetwork, DockerUnavailable
from appliance.preflight import Check
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused


def made(settings: Settings) -> list[Path]:
    places = (settings.config_dir, settings.state_dir, settings.run_dir, settings.log_dir)
    return [place for place in places if place.exists()]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `down` and a failed `up` take away, recorded instead of done."""
    seen: list[str] = []
    monkeypatch.setattr(lifecycle, "_stop", lambda _settings: seen.append("stop"))
    monkeypatch.setattr(docker_host, "disable_admission", lambda _settings: seen.append("admission off"))
    return seen


@pytest.mark.parametrize("command", ["up", "down"])
def test_only_root(egress: Egress, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(egress(command), f"egress {command} needs root; run: sudo egress {command}")


def test_every_fault_of_the_host_at_once_and_nothing_done(
    egress: Egress, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [
        Check("program nft", ok=False, detail="not found", mend="apt-get install nftables"),
        Check("kernel TPROXY in nftables", ok=False, detail="unknown", mend="boot another kernel"),
        Check("fine", ok=True, detail="fine"),
    ]
    monkeypatch.setattr(preflight, "before_up", lambda _settings: faults)
    result = egress("up")
    refused(result, "program nft: not found; apt-get install nftables", "boot another kernel")
    assert "fine" not in result.stderr
    assert made(settings) == []


def test_docker_absent(egress: Egress, settings: Settings) -> None:
    refused(egress("up"), "Docker: no answer; no Docker engine answers", "start it")
    assert made(settings) == []


def test_a_malformed_policy(egress: Egress, settings: Settings) -> None:
    settings.tenants_dir.mkdir(parents=True)
    (settings.tenants_dir / "acme.yaml").write_text("profil: x\n")
    refused(egress("up"), "acme.yaml:1:1: unknown key 'profil'; did you mean 'profile'?")
    assert not settings.run_dir.exists()


def test_a_ca_key_with_loose_modes(egress: Egress, settings: Settings) -> None:
    settings.ca_dir.mkdir(parents=True)
    key = settings.ca_dir / "root.key"
    key.write_text("key")
    key.chmod(0o644)
    refused(egress("up"), "CA key: ", "mode 0644", f"chmod 600 {key}")
    assert not settings.run_dir.exists()


def test_a_passphrase_that_only_the_brokers_unit_is_given(
    settings_file: Path, egress: Egress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def begin(_settings: Settings) -> None:
        raise Failure("begun")

    words = tmp_path / "given/egressunit-broker.service/words"
    document = json.loads(settings_file.read_text())
    document["vault"] = {"unlock": "passphrase_file", "passphrase_file": str(words)}
    settings_file.write_text(json.dumps(document))
    monkeypatch.setattr(preflight, "before_up", lambda _settings: [])
    monkeypatch.setattr(lifecycle, "_make_directories", begin)
    refused(egress("up"), "begun")
    monkeypatch.setattr(lifecycle.settings_module, "CREDENTIALS", tmp_path / "given")
    refused(
        egress("up"),
        f"vault.passphrase_file {words}: systemd gives it to the broker's unit alone",
        "systemctl start egressunit.target",
    )
    words.parent.mkdir(parents=True)
    words.touch()
    refused(egress("up"), "begun")


def test_a_second_up(egress: Egress, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "listening_pid", lambda _path: 4711)
    refused(egress("up"), "already up (supervisor pid 4711); see: egress status")
    assert made(settings) == []


def test_two_at_the_same_time(egress: Egress, stopped: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []

    def meanwhile(_log: Path) -> None:
        seconds.append(egress("up"))

    monkeypatch.setattr(preflight, "before_up", lambda _settings: [])
    monkeypatch.setattr(lifecycle, "_spawn_supervisor", meanwhile)
    monkeypatch.setattr(lifecycle, "_wait_until_ready", lambda *_: None)
    monkeypatch.setattr(docker_host, "enable_admission", lambda _settings: True)
    assert egress("up").exit_code == 0
    (second,) = seconds
    refused(second, "another `egress up` is at work; wait for it")
    assert stopped == []


def test_after_a_boot_docker_is_started_second(
    egress: Egress, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.docker.daemon_json.write_text(json.dumps({"authorization-plugins": [settings.instance]}))
    assert preflight.engine(settings).ok
    monkeypatch.setattr(preflight, "before_up", lambda _settings: [])
    monkeypatch.setattr(lifecycle, "_spawn_supervisor", lambda _log: None)
    monkeypatch.setattr(lifecycle, "_wait_until_ready", lambda *_: None)
    result = egress("up")
    assert result.exit_code == 0, result.output
    assert "start it now: systemctl start docker" in result.output


@pytest.mark.parametrize(
    "error", [DockerUnavailable("daemon.json is not JSON"), OSError(28, "No space", "d.json")]
)
def test_an_engine_that_does_not_take_the_plugin_takes_all_back(
    egress: Egress, stopped: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(_settings: Settings) -> bool:
        raise error

    monkeypatch.setattr(preflight, "before_up", lambda _settings: [])
    monkeypatch.setattr(lifecycle, "_spawn_supervisor", lambda _log: None)
    monkeypatch.setattr(lifecycle, "_wait_until_ready", lambda *_: None)
    monkeypatch.setattr(docker_host, "enable_admission", refuse)
    refused(egress("up"))
    assert stopped == ["admission off", "stop"]


def test_who_kept_up_waiting(tmp_path: Path) -> None:
    log = tmp_path / "supervisor.log"
    log.write_text("x [netd] first\nx [netd] cannot bind\nx [broker] fine\n")
    answers = {"supervisor": {}, "broker": {"ready": True}, "netd": {"ready": False}}
    assert "netd: cannot bind (whole log:" in not_ready(answers, log)
    assert "it said nothing" in not_ready({"supervisor": {}, "resolver": {}}, log)
    assert "it said nothing" in not_ready({"supervisor": {}, "resolver": {}}, tmp_path / "absent")
    everyone = {"supervisor": {"ready": False}, "broker": {"ready": True}}
    assert "the supervisor was not ready" in not_ready(everyone, log)  # it was an IndexError


def test_down_with_containers_attached(
    egress: Egress, stopped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = [ApplianceNetwork("acme", "id", "acme", "172.18.0.0/16", ("job",))]
    monkeypatch.setattr(docker_host, "networks", lambda _settings: networks)
    refused(egress("down"), "1 container attached (job (acme)); stop them or use --force")
    assert stopped == []
    assert egress("down", "--force").exit_code == 0
    assert stopped == ["admission off", "stop"]


def test_down_without_docker(egress: Egress, stopped: list[str]) -> None:
    result = egress("--json", "down")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"down": True}
    assert "no Docker engine answers" in result.stderr
