"""HTTP over dockerd's socket, one question at a time on a connection that is kept; blocks.

Without the SDK, whose `requests` takes 0.76 ms of a processor for a question where this takes 0.16: for each
container we ask some nine times, and `docker run` waits for three of the answers.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote


class EngineError(Exception):
    """dockerd did not answer, or not in its own terms, or refused; `str()` says which."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFound(EngineError):
    """dockerd has no such thing."""


def path_of(form: str, reference: str) -> str:
    """`form` with a name in the place of `{}`, quoted, so that it is one name whatever it holds.

    Raises `EngineError` for an empty one, which would make it another path.
    """
    if not reference:
        raise EngineError("a name is empty")
    return form.format(quote(reference, safe=":"))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class EngineHTTP:
    """Used by one thread. `timeout` bounds each wait for dockerd, in seconds."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._connection = _Connection(path, timeout)

    def ask(self, target: str, method: str = "GET", message: Any = None) -> Any:
        """The JSON of the answer, None for an answer without content. Raises `EngineError`, `NotFound`.

        `message` goes with the question as JSON.
        A connection that dockerd closed meanwhile is made anew once: all that we ask may be asked twice.
        """
        kept = self._connection.sock is not None
        try:
            try:
                status, content = self._exchange(method, target, message)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not kept:
                    raise
                self._connection.close()
                status, content = self._exchange(method, target, message)
            if status >= http.client.MULTIPLE_CHOICES:
                raise _error(status, content)
            return json.loads(content) if content.strip() and content != b"OK" else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()  # what comes on it now may be the answer to this question
            raise EngineError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _exchange(self, method: str, target: str, message: Any) -> tuple[int, bytes]:
        if message is None:
            self._connection.request(method, target)
        else:
            self._connection.request(
                method, target, json.dumps(message), {"Content-Type": "application/json"}
            )
        with self._connection.getresponse() as response:
            return response.status, response.read()


def _error(status: int, content: bytes) -> EngineError:
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = "no reason given"
    kind = NotFound if status == http.client.NOT_FOUND else EngineError
    return kind(f"{status}: {message}", status)
