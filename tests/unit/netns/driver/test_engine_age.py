"""How long the process at dockerd's socket has been running."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def test_who_listens_is_meant(listening: Path, tmp_path: Path) -> None:
    found, own = age_of_engine(listening, tmp_path / "none"), age(os.getpid())
    assert found is not None
    assert own is not None
    assert abs(found - own) < 5


def test_where_init_listens_the_pid_file_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket activation: systemd is the listener, and as old as the machine."""
    monkeypatch.setattr(engine_age, "listening_pid", lambda _path, _within: 1)
    file = tmp_path / "docker.pid"
    assert age_of_engine(tmp_path / "docker.sock", file) is None
    file.write_text("no number")
    assert age_of_engine(tmp_path / "docker.sock", file) is None
    file.write_text(f"{os.getpid()}\n")
    own, found = age(os.getpid()), age_of_engine(tmp_path / "docker.sock", file)
    assert own is not None
    assert found is not None
    assert abs(found - own) < 5


def test_where_nobody_listens_it_cannot_be_told(tmp_path: Path) -> None:
    assert age_of_engine(tmp_path / "docker.sock", tmp_path / "docker.pid") is None
    assert age(2**22 + 1) is None
