"""Typed messages between our own processes: one JSON object a line over a Unix socket.

Who may say what is decided by the peer's uid (`appliance.peer`), never by what it says of itself.
A line over `MAX_LINE` bytes, or one that is no JSON object, ends the connection. The processes speak it in
their reactor (`appliance.json_lines`); the command line asks here, without one.
"""

from __future__ import annotations

import json
import socket
from typing import Any

MAX_LINE = 8 * 1024 * 1024

Message = dict[str, Any]


def ask(path: str, message: Message, timeout: float = 5.0) -> Message:
    """Send one message and wait for one answer, blocking (for the command line, never in a reactor).

    Raises `OSError` when the socket is absent or silent, `ValueError` when the answer is no JSON object.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(json.dumps(message).encode() + b"\n")
        buffer = bytearray()
        while not buffer.endswith(b"\n"):
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionError(f"{path}: closed before it answered")
            buffer += chunk
            if len(buffer) > MAX_LINE:
                raise ValueError(f"{path}: answer too long")
    answer = json.loads(buffer)
    if not isinstance(answer, dict):
        raise ValueError(f"{path}: answer is no object")  # noqa: TRY004 - a malformed peer, not a caller's type
    return answer
