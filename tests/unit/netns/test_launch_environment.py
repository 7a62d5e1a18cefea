"""netns.launch: what of its environment a process has from us, and nothing from anybody else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.privilege import ERASING
from appliance.processes import processes
from appliance.settings import Settings
from netns.launch import prepare

SETTINGS = Settings()
NAMES = [process.name for process in processes(SETTINGS)]


@pytest.mark.parametrize("name", NAMES)
def test_the_broker_and_no_other_overwrites_what_it_frees(name: str) -> None:
    plan = prepare(SETTINGS, name, {"PYTHONMALLOC": "debug", "PYTHONPATH": "/nowhere", "LANG": "C"})
    assert dict(plan.environment) == {
        "PATH": plan.environment["PATH"], "LANG": "C", **(ERASING if name == "broker" else {}),
    }  # fmt: skip
    flags = plan.command[1 : plan.command.index("-m")]
    assert flags == (("-P", "-s") if name == "broker" else ("-I",))


def test_the_broker_has_its_directories_to_itself() -> None:
    folders = {folder.path: (folder.uid, folder.mode) for folder in prepare(SETTINGS, "broker", {}).folders}
    assert folders[SETTINGS.vault_dir] == (SETTINGS.uids.broker, 0o700)
    assert folders[SETTINGS.ca_dir] == (SETTINGS.uids.broker, 0o755)
    assert SETTINGS.vault_dir not in {folder.path for folder in prepare(SETTINGS, "resolver", {}).folders}


def test_an_upgrade_puts_no_other_program_under_a_process_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the units name is a link; what runs keeps to where the link led when it was started."""
    (tmp_path / "release" / "bin").mkdir(parents=True)
    (tmp_path / "release" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "current").symlink_to("release")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "current" / "bin" / "python"))
    assert prepare(SETTINGS, "broker", {}).command[0] == str(tmp_path / "release" / "bin" / "python")
