"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from appliance.peer import Credentials, peer_credentials


def test_they_come_from_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_credentials(ours) == Credentials(os.getpid(), os.getuid(), os.getgid())


def test_who_connects_is_told_who_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "a.sock"))
        child = os.fork()
        if child == 0:
            listening.listen()
            os._exit(0)
        os.waitpid(child, 0)
        client.connect(str(tmp_path / "a.sock"))
        assert peer_credentials(client).pid == child
