"""appliance.folders: each process has directories of its own, and nobody else's are writable to it."""

from __future__ import annotations

import pytest

from appliance.folders import folders
from appliance.processes import Process, processes
from appliance.settings import Settings

SETTINGS = Settings()
TABLE = processes(SETTINGS)


@pytest.mark.parametrize("process", TABLE, ids=lambda process: process.name)
def test_a_directory_stands_in_one_that_was_made_before_it(process: Process) -> None:
    known = {path.parent for path in (SETTINGS.run_dir, SETTINGS.state_dir, SETTINGS.log_dir)}
    for folder in folders(SETTINGS, process):
        assert folder.path.parent in known
        known.add(folder.path)


def test_no_two_uids_share_a_directory_but_roots() -> None:
    owners: dict[object, set[int]] = {}
    for process in TABLE:
        for folder in folders(SETTINGS, process):
            owners.setdefault(folder.path, set()).add(folder.uid)
            assert folder.uid in {0, process.uid}
            assert not folder.mode & 0o022
    assert all(len(uids) == 1 for uids in owners.values())


@pytest.mark.parametrize("name", ["gateway-0", "resolver", "squid", "netd"])
def test_the_brokers_directories_are_nobody_elses(name: str) -> None:
    (process,) = [process for process in TABLE if process.name == name]
    found = {folder.path for folder in folders(SETTINGS, process)}
    assert not found & {SETTINGS.vault_dir, SETTINGS.ca_dir}
