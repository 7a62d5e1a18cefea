"""How long the process at dockerd's socket has been running."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.settings import DockerSettings
from netns.driver import engine_age
from netns.driver.engine_age import age, age_of_engine


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "docker.sock"))
        opened.listen()
        yield tmp_path / "docker.sock"


def test_a_new_process_is_young_and_ages() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        first = age(child.pid)
        time.sleep(0.05)
        second = age(child.pid)
        child.kill()
    assert first is not None
    assert second is not None
    assert -0.02 <= first < second < 30


def test_who_listens_is_meant(listening: Path) -> None:
    found, own = age_of_engine(DockerSettings(socket=listening)), age(os.getpid())
    assert found is not None
    assert own is not None
    assert abs(found - own) < 5


def test_where_nobody_listens_it_cannot_be_told(tmp_path: Path) -> None:
    assert age_of_engine(DockerSettings(socket=tmp_path / "docker.sock")) is None
    assert age(2**22 + 1) is None


def test_a_socket_that_we_may_not_ask_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_docker: DockerSettings, _within: float) -> int:
        raise PermissionError

    monkeypatch.setattr(engine_age, "engine_pid", refuses)
    assert age_of_engine(DockerSettings(socket=tmp_path / "docker.sock")) is None
