"""Who may subscribe: the process that listens on a control socket, whatever else has its uid."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance.settings import Settings
from netns.acquaintance import Acquaintance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(run_dir=tmp_path)


@pytest.mark.parametrize("process", ["gateway-0", "gateway-1"])
def test_who_listens_for_a_process_of_that_uid_is_known(settings: Settings, process: str) -> None:
    known = Acquaintance(settings)
    gateway, resolver = settings.uids.gateway, settings.uids.resolver
    assert not known.knows(os.getpid(), gateway)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(settings.control_socket(process)))
        listening.listen()
        assert known.knows(os.getpid(), gateway)
        assert not known.knows(os.getpid(), resolver), "it is a worker's socket"
        assert not known.knows(os.getppid(), gateway), "the uid alone is not enough"
