"""netns.listening: a socket that was left behind makes room, also where root may not override permissions."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

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


class Probe:
    """Lets itself be connected as its owner alone."""

    def __init__(self, knocked: list[int]) -> None:
        self.knocked = knocked

    def connect(self, path: str) -> None:
        del path
        if not self.knocked:
            raise PermissionError
        raise ConnectionRefusedError


def test_who_may_not_ask_whether_somebody_listens_asks_as_the_sockets_owner(knocked: list[int]) -> None:
    """A unit's launcher is root without CAP_DAC_OVERRIDE."""
    with pytest.raises(ConnectionRefusedError):
        listening._knock(cast("socket.socket", Probe(knocked)), Path("/nowhere"), 64101)
    assert knocked == [64101]


def test_a_socket_that_was_left_behind_makes_room(tmp_path: Path, knocked: list[int]) -> None:
    path = tmp_path / "gateway-0.sock"
    os.close(opened(path))
    os.close(opened(path))
    assert knocked == []


def test_one_on_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway-0.sock"
    with socket.socket(fileno=opened(path)):
        with pytest.raises(OSError, match="another process is listening"):
            opened(path)
        assert path.is_socket()
