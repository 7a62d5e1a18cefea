"""In which network namespace dockerd looks for a container's end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netns import kernel


def opened(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    finally:
        os.close(descriptor)


OWN = str(Path("/proc/self/ns/net").readlink())
NO_PROCESS = 2**22 + 1


def test_it_is_that_of_who_listens_on_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def listening_pid(path: str, within: float) -> int:
        asked.append(path)
        assert within == 1.0
        return 4711

    found: list[str] = []

    def opens(path: str, flags: int) -> int:
        found.append(path)
        return flags

    monkeypatch.setattr(kernel, "listening_pid", listening_pid)
    monkeypatch.setattr(os, "open", opens)
    kernel.engine_namespace(tmp_path / "docker.sock")
    assert asked == [str(tmp_path / "docker.sock")]
    assert found == ["/proc/4711/ns/net"]


def test_where_nobody_listens_it_is_our_own(tmp_path: Path) -> None:
    assert opened(kernel.engine_namespace(tmp_path / "none.sock")) == OWN


def test_where_it_cannot_be_told_it_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_path: str, within: float) -> int:
        del within
        raise PermissionError

    monkeypatch.setattr(kernel, "listening_pid", refuses)
    assert opened(kernel.engine_namespace(tmp_path / "docker.sock")) == OWN
    monkeypatch.setattr(kernel, "listening_pid", lambda _path, within: NO_PROCESS)
    assert opened(kernel.engine_namespace(tmp_path / "docker.sock")) == OWN
