"""appliance.cli.systemd: who runs the instance is asked of systemd, and `up` and `down` keep off what it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.cli import lifecycle, status, systemd
from appliance.cli.doctor import running
from appliance.cli.failures import Failure
from appliance.processes import processes
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused

Says = Callable[..., Path]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """A systemctl that says these states, one for each unit that it is asked for, and where its words are kept."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)

    def install(*states: str, code: int = 0) -> Path:
        text = "\\n\\n".join(states)
        program = folder / "systemctl"
        program.write_text(
            f"#!/bin/sh\necho \"$@\" >{asked}\nprintf '{text}\\n'\nexit {code}\n", encoding="ascii"
        )
        program.chmod(0o755)
        return asked

    return install


@pytest.mark.parametrize(
    ("target", "netd", "expected"),
    [
        ("active", "active", True),
        ("inactive", "activating", True),
        ("inactive", "active", True),
        ("active", "failed", True),
        ("deactivating", "inactive", True),
        ("inactive", "inactive", False),
        ("inactive", "failed", False),
    ],
)
def test_it_governs_what_is_active_or_on_the_way(
    settings: Settings, says: Says, target: str, netd: str, *, expected: bool
) -> None:
    asked = says(target, netd)
    assert systemd.governs(settings) is expected
    assert asked.read_text(encoding="ascii").split()[-2:] == ["egressunit.target", "egressunit-netd.service"]


def test_where_systemd_is_not_the_init_system_nothing_is_asked(
    settings: Settings, says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = says("active", "active")
    monkeypatch.setattr(systemd, "BOOTED", tmp_path / "none")
    assert not systemd.governs(settings)
    assert not asked.exists()


@pytest.mark.usefixtures("says")
def test_a_systemd_that_cannot_be_asked_is_no_leave_to_go_on(settings: Settings) -> None:
    with pytest.raises(Failure, match="does not say whether it runs the instance"):
        systemd.governs(settings)


def test_up_and_down_keep_off(egress: Egress, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else `down` would stop processes that systemd starts again, and tear down what they then stand on."""
    says("active", "active")
    for name in ("_stop", "_spawn_supervisor", "_make_directories"):
        monkeypatch.setattr(lifecycle, name, lambda *_: pytest.fail("touched"))
    refused(egress("up"), "systemctl start egressunit.target; see: egress status")
    refused(egress("down", "--force"), "systemctl stop egressunit.target egressunit-broker.service ")


def test_what_is_to_be_stopped_is_named_one_by_one(settings: Settings, says: Says) -> None:
    """A pattern would stop instance `egressunit-b` as well."""
    says("active", "active")
    with pytest.raises(Failure) as caught:
        systemd.keep_off(settings, "stop")
    command = str(caught.value).partition("systemctl stop ")[2].partition(", then: egress down")[0]
    services = [f"egressunit-{process.name}.service" for process in processes(settings)]
    assert command.split() == ["egressunit.target", *services]


def test_status_names_who_supervises(egress: Egress, says: Says) -> None:
    says("active", "active")
    document = json.loads(egress("--json", "status").stdout)
    assert document["processes"]["supervisor"] == {"ok": True, "ready": True, "by": "egressunit.target"}
    assert document["ready"] is False, "the processes themselves do not answer"
    assert "by=egressunit.target" in egress("status").stdout


def test_a_supervisor_of_our_own_is_named_as_it_is(
    settings: Settings, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = says("active", "active")
    monkeypatch.setattr(status, "ask_process", lambda *_: {"ok": True, "ready": True})
    assert status.state(settings)["processes"]["supervisor"] == {"ok": True, "ready": True}
    assert not asked.exists()


def test_the_doctor_sends_to_the_journal(settings: Settings, says: Says) -> None:
    says("active", "active")
    checks = {check.name: check for check in running(settings)}
    assert checks["appliance"].ok
    assert not checks["process netd"].ok
    assert checks["process netd"].mend == "journalctl -u egressunit-netd.service"
