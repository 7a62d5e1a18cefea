"""A proxy as companies run them, for CONNECT alone; it keeps account of what it was asked."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

OPENED = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 company\r\n\r\n"


class ConnectProxy:
    """Connects where it was asked to, another port in place of some; `answer` is what it says first."""

    def __init__(self, address: str, ports: dict[int, int], answer: bytes = OPENED) -> None:
        self.asked: list[bytes] = []
        self.ports = ports
        self.answer = answer
        self._listening = socket.create_server((address, 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # the thread that accepts holds it open
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                octet = client.recv(1)
                if not octet:
                    return
                head += octet
            self.asked.append(head)
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            with socket.create_connection((host, self.ports.get(int(port), int(port)))) as server:
                client.sendall(self.answer)
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
