"""netns.listening: a socket that was left behind makes room, also where root may not override permissions."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.processes import Listener, SocketKind
from netns import listening


@pytest.fixture
def knocked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As whom it was asked whether somebody listens."""
    uids: list[int] = []

    @contextlib.contextmanager
    def as_owner(uid: int) -> Iterator[None]:
        uids.append(uid)
        yield

    monkeypatch.setattr(listening, "owning_files_as", as_owner)
    return uids


def opened(path: Path) -> int:
    return listening.open_listener(Listener("control", SocketKind.UNIX, path=path), os.getuid())


def test_whether_somebody_listens_is_asked_as_the_sockets_owner(tmp_path: Path, knocked: list[int]) -> None:
    path = tmp_path / "gateway-0.sock"
    os.close(opened(path))
    assert knocked == []
    descriptor = opened(path)
    assert knocked == [os.getuid()], "a unit's launcher is root without CAP_DAC_OVERRIDE"
    os.close(descriptor)


def test_one_on_which_somebody_listens_is_left_alone(tmp_path: Path, knocked: list[int]) -> None:
    path = tmp_path / "gateway-0.sock"
    with socket.socket(fileno=opened(path)):
        with pytest.raises(OSError, match="another process is listening"):
            opened(path)
        assert path.is_socket()
    assert knocked == [os.getuid()]
