"""Packages come with a record of all that came, and go without what somebody else needs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from plugin import load

MODULE = load("modules/packages.py")

INSTALL = """NOTE: This is only a simulation!
Inst libnftables1 (1.0.6-2 Debian:12 [amd64])
Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])
Inst nftables (1.0.6-2 Debian:12 [amd64]) []
Conf libnftables1 (1.0.6-2 Debian:12 [amd64])
"""


class Host:
    """A Debian host as far as the module asks: what is installed, what apt-get says."""

    def __init__(self, installed: set[str]) -> None:
        self.installed = installed
        self.simulation = INSTALL
        self.dependents: dict[str, list[str]] = {}
        self.calls: list[list[str]] = []
        self.fails = ""
        self.enabled = ""
        self.units = ""
        self.conffiles = ""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command))
        if command[0] == "systemctl":
            return subprocess.CompletedProcess(command, 0, self.enabled, "")
        if "--search" in command:
            return subprocess.CompletedProcess(command, 0, self.units, "")
        if any("Conffiles" in word for word in command):
            return subprocess.CompletedProcess(command, 0, self.conffiles, "")
        if command[0] == "dpkg-query":
            listed = "".join(f"installed {name}\n" for name in sorted(self.installed))
            return subprocess.CompletedProcess(command, 0, f"{listed}not-installed gone\n", "")
        if self.fails and self.fails in command:
            return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package nosuch\n")
        if "purge" in command and "--simulate" in command:
            names = command[command.index("purge") + 1 :]
            gone = {x for name in names for x in [name, *self.dependents.get(name, [])]}
            return subprocess.CompletedProcess(
                command, 0, "".join(f"Purg {x} [1]\n" for x in sorted(gone)), ""
            )
        if "--simulate" in command:
            return subprocess.CompletedProcess(command, 0, self.simulation, "")
        return subprocess.CompletedProcess(command, 0, "", "")

    def changing(self) -> list[list[str]]:
        return [c for c in self.calls if c[0] == "apt-get" and "--simulate" not in c and "update" not in c]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    there = Host({"base-files"})
    monkeypatch.setattr(MODULE, "_run", there.run)
    monkeypatch.setattr(MODULE, "LISTS", tmp_path / "lists")
    monkeypatch.setattr(MODULE, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(MODULE, "ASIDE", tmp_path / "policy-rc.d.before-egress")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "x_Packages").touch()
    return there


def install(record: Any, names: list[str], *leavings: Path, check: bool = False) -> Any:
    parameters = {"names": names, "start_services": False, "cache_valid_time": 3600}
    parameters["leavings"] = [str(path) for path in leavings]
    return MODULE.install(parameters, record, check=check)


def test_all_that_comes_is_recorded_before_it_comes(record: Any, host: Host) -> None:
    host.fails = "--yes"
    with pytest.raises(MODULE.Refused, match=r"half-way.*run this again"):
        install(record, ["nftables"])
    assert record.section("packages")["brought"] == ["libnftables1", "nftables"]


def test_what_is_there_is_left_alone(record: Any, host: Host) -> None:
    assert not install(record, ["base-files"])["changed"]
    assert host.changing() == []
    assert record.section("packages") == {}


def test_nothing_is_recommended_and_nothing_removed(record: Any, host: Host) -> None:
    install(record, ["nftables", "base-files"])
    (call,) = host.changing()
    assert {"--no-install-recommends", "--no-remove"} <= set(call)
    assert call[-1] == "nftables"
    assert "base-files" not in call


def test_a_package_of_somebody_else_is_not_given_up_for_ours(record: Any, host: Host) -> None:
    host.simulation = INSTALL + "Remv containerd.io [1.6]\n"
    with pytest.raises(MODULE.Refused, match=r"would remove containerd\.io"):
        install(record, ["docker.io"], check=True)
    assert host.changing() == []
    assert record.section("packages") == {}


def test_an_unknown_package_is_told_in_check_mode(record: Any, host: Host) -> None:
    host.fails = "--simulate"
    with pytest.raises(MODULE.Refused, match="cannot install nosuch: Unable to locate"):
        install(record, ["nosuch"], check=True)


@pytest.mark.parametrize("name", ["--purge", "a b", "", "Nftables"])
def test_a_name_is_no_option(record: Any, host: Host, name: str) -> None:
    with pytest.raises(MODULE.Refused, match="no name of a Debian package"):
        install(record, [name])
    assert host.calls == []


def test_check_mode_knows_what_is_missing_without_lists(record: Any, host: Host, tmp_path: Path) -> None:
    (tmp_path / "lists" / "x_Packages").unlink()
    outcome = install(record, ["nftables", "base-files"], check=True)
    assert (outcome["changed"], outcome["packages"]) == (True, ["nftables"])
    assert host.changing() == []
    assert record.section("packages") == {}


def test_no_service_is_started_by_a_package(
    record: Any, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    seen: list[str] = []

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        if "--yes" in command:
            seen.append(policy.read_text())
        return host.run(*command)

    monkeypatch.setattr(MODULE, "_run", run)
    install(record, ["nftables"])
    assert not policy.exists()
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o700)
    install(record, ["nftables"])
    assert (policy.read_text(), policy.stat().st_mode & 0o777) == ("#!/bin/sh\nexit 104\n", 0o700)
    assert seen == [MODULE.NO_START] * 2


@pytest.mark.parametrize("own", [None, "#!/bin/sh\nexit 101\n"])
@pytest.mark.parametrize("ends", ["install", "all is there", "remove"])
def test_what_a_killed_run_left_keeps_no_service_from_starting(
    record: Any, host: Host, tmp_path: Path, own: str | None, ends: str
) -> None:
    """A run that is killed puts nothing back; the next one does, and takes nothing of ours for the host's."""
    policy = tmp_path / "policy-rc.d"
    if own is not None:
        policy.write_text(own)
        policy.chmod(0o755)
    MODULE._Quiet(wanted=True).__enter__()
    assert policy.read_text() == MODULE.NO_START
    assert install(record, ["nftables"], check=True)["changed"]
    assert policy.read_text() == MODULE.NO_START
    if ends == "remove":
        assert MODULE.remove(record, check=False)["changed"]
    else:
        assert install(record, ["nftables" if ends == "install" else "base-files"])["changed"]
    assert (policy.read_text() if policy.exists() else None) == own
    assert sorted(file.name for file in tmp_path.glob("policy-rc.d*")) == ["policy-rc.d"] * (own is not None)
    assert not install(record, ["base-files"])["changed"]


def test_all_that_came_goes(record: Any, host: Host) -> None:
    record.keep("packages", {"brought": ["libnftables1", "nftables", "gone"]})
    host.installed |= {"libnftables1", "nftables"}
    outcome = MODULE.remove(record, check=False)
    assert (outcome["packages"], outcome["kept"]) == (["libnftables1", "nftables"], [])
    (call,) = host.changing()
    assert call[-3:] == ["purge", "libnftables1", "nftables"]
    assert record.section("packages") == {}
    assert not MODULE.remove(record, check=False)["changed"]


def test_what_somebody_else_needs_by_now_stays(record: Any, host: Host) -> None:
    record.keep("packages", {"brought": ["libnftables1", "nftables", "squid"]})
    host.installed |= {"libnftables1", "nftables", "squid", "fail2ban"}
    host.dependents = {"libnftables1": ["nftables", "fail2ban"], "nftables": ["fail2ban"]}
    outcome = MODULE.remove(record, check=False)
    assert (outcome["packages"], outcome["kept"]) == (["squid"], ["libnftables1", "nftables"])


def test_removal_in_check_mode_changes_nothing(record: Any, host: Host) -> None:
    record.keep("packages", {"brought": ["nftables"]})
    host.installed |= {"nftables"}
    assert MODULE.remove(record, check=True)["packages"] == ["nftables"]
    assert host.changing() == []
    assert record.section("packages") == {"brought": ["nftables"]}


def test_what_they_leave_goes_with_them_unless_it_was_there_before(
    record: Any, host: Host, tmp_path: Path
) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "file"
    old.mkdir()
    install(record, ["nftables"], old, new, file)
    (new / "certs").mkdir(parents=True)
    (new / "certs" / "a.pem").symlink_to(tmp_path / "nowhere")
    file.touch()
    install(record, ["nftables"], old, new, file)
    host.installed |= {"libnftables1", "nftables", "fail2ban"}
    MODULE.remove(record, check=True)
    assert new.exists()
    MODULE.remove(record, check=False)
    assert (old.exists(), new.exists(), file.exists()) == (True, False, False)


def test_a_file_that_somebody_put_there_stays(record: Any, host: Host, tmp_path: Path) -> None:
    install(record, ["nftables"], tmp_path / "ssl")
    (tmp_path / "ssl" / "private").mkdir(parents=True)
    (tmp_path / "ssl" / "private" / "key.pem").write_text("a key")
    (tmp_path / "ssl" / "certs").mkdir()
    MODULE.remove(record, check=False)
    assert (tmp_path / "ssl" / "private" / "key.pem").read_text() == "a key"
    assert not (tmp_path / "ssl" / "certs").exists()


def test_what_they_leave_stays_while_one_of_them_does(record: Any, host: Host, tmp_path: Path) -> None:
    install(record, ["nftables"], tmp_path / "new")
    (tmp_path / "new").mkdir()
    host.installed |= {"libnftables1", "nftables", "fail2ban"}
    host.dependents = {"libnftables1": ["fail2ban"], "nftables": ["fail2ban"]}
    MODULE.remove(record, check=False)
    assert (tmp_path / "new").exists()


UNITS = """diversion by base-files from: /lib/systemd/system/a.service
nftables: /lib/systemd/system/nftables.service
nftables, base-files: /lib/systemd/system/nftables.service.d/nftables.conf
libnftables1:amd64: /usr/lib/systemd/system/libnft.socket
base-files: /lib/systemd/system/other.service
"""


def brought(record: Any, host: Host) -> None:
    host.units = UNITS
    host.enabled = "libnft.socket enabled enabled\nother.service enabled enabled\n"
    install(record, ["nftables"])
    host.installed |= {"libnftables1", "nftables"}


def test_a_unit_that_came_enabled_is_nobodys(record: Any, host: Host) -> None:
    brought(record, host)
    assert record.section("packages")["enabled"] == {"libnftables1": ["libnft.socket"], "nftables": []}
    assert MODULE.remove(record, check=False)["packages"] == ["libnftables1", "nftables"]


def test_a_package_whose_unit_somebody_enabled_stays_with_what_it_needs(record: Any, host: Host) -> None:
    brought(record, host)
    host.enabled += "nftables.service enabled enabled\n"
    host.dependents = {"libnftables1": ["nftables"]}
    outcome = MODULE.remove(record, check=False)
    assert (outcome["packages"], outcome["kept"]) == ([], ["libnftables1", "nftables"])
    assert outcome["told"] == [
        "libnftables1 stays: others need it", "nftables stays: nftables.service was enabled",
    ]  # fmt: skip
    assert [call for call in host.changing() if "purge" in call] == []


def test_an_installation_that_was_cut_off_says_nothing_of_units(record: Any, host: Host) -> None:
    host.units, host.enabled = UNITS, "nftables.service enabled enabled\n"
    host.installed |= {"nftables"}
    record.keep("packages", {"brought": ["nftables"]})
    assert MODULE.remove(record, check=True)["packages"] == ["nftables"]


@pytest.mark.parametrize(("text", "kept"), [("as it came\n", []), ("table inet mine\n", ["nftables"])])
def test_a_package_with_an_edited_configuration_file_stays(
    record: Any, host: Host, tmp_path: Path, text: str, kept: list[str]
) -> None:
    brought(record, host)
    file = tmp_path / "nftables.conf"
    file.write_text(text)
    digest = "702c3f46a855f76dbe6bf2a7b642c81d"
    host.conffiles = f"libnftables1\n\nnftables\n {file} {digest}\n {tmp_path}/gone {digest} obsolete\n\n"
    outcome = MODULE.remove(record, check=True)
    assert outcome["kept"] == kept
    assert outcome["told"] == [f"nftables stays: {file} was edited"] * len(kept)
