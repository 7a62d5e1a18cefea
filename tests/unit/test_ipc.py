"""The command line asks a process: one answer, or why there is none."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from appliance import ipc


def test_ask_gets_one_answer_and_says_when_there_is_none(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")

    def serve(listener: socket.socket, answer: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        for answer, error in ((b'{"ok":true}\n', None), (b"", ConnectionError), (b"[]\n", ValueError)):
            thread = threading.Thread(target=serve, args=(listener, answer))
            thread.start()
            if error is None:
                assert ipc.ask(path, {"op": "status"}) == {"ok": True}
            else:
                with pytest.raises(error):
                    ipc.ask(path, {"op": "status"})
            thread.join()
    with pytest.raises(OSError, match="No such file"):
        ipc.ask(str(tmp_path / "absent.sock"), {})
