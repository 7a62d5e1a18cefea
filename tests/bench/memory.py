"""What a gateway worker keeps in memory: 100,000 connections one after the other, and 2,000 that are only held.

`make bench`. The worker is the real one, in a process of its own on loopback (`tests/system/gateway`): its sockets,
TLS both ways, policy, limits and audit log; netd, resolver and broker are stood in for. Connections end in every way
that is common: an answer, a refusal, TLS with an answer, a hang-up in the middle. Resident memory is read when all
of them are gone. It may grow at first, while caches fill, and an allocator keeps what it has had; then it has to
stay where it is, which is what the ratios say.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.rows import Row

HARNESS = Path(__file__).parents[1] / "system" / "gateway"
ROOT = Path(__file__).parents[2]
SEQUENTIAL, STEP = 100_000, 10_000
SECURED = 20  # one in so many connections is TLS
IDLE = 2000
CLIENTS = 2
GOAL = 1.1
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 600\r\n\r\n" + b"x" * 600


async def origin(address: str, port: int) -> None:
    """A server that costs little, so that it is the worker that is measured."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, address, port) as server:
        print("ready", flush=True)
        await server.serve_forever()


def read_all(connection: socket.socket) -> bytes:
    text = b""
    try:
        while piece := connection.recv(65536):
            text += piece
    except OSError:
        pass
    return text


class Clients:
    """Connections to one gateway, one after the other, each ending in its own way."""

    def __init__(self, gateway: Any, name: str) -> None:
        self._gateway, self._name = gateway, name
        self._trust = gateway.trust()
        self.answers: dict[str, int] = {}

    def some(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            said = self._one(number)
            self.answers[said] = self.answers.get(said, 0) + 1

    def _one(self, number: int) -> str:
        gateway = self._gateway
        secured = number % SECURED == 0
        source = (gateway.acme, gateway.beta)[number % 2]
        with socket.create_connection((gateway.address, 443 if secured else 80), 20, (source, 0)) as plain:
            if secured:
                with self._trust.wrap_socket(plain, server_hostname=self._name) as tls:
                    return self._ask(tls, "GET", f"/n{number}")
            if number % 10 == 1:
                return self._ask(plain, "POST", "/refused")
            if number % 10 == 3:
                plain.sendall(b"GET /half-a-head HTTP/1.1\r\nHo")
                return "hung up"
            return self._ask(plain, "GET", f"/n{number}")

    def _ask(self, connection: socket.socket, method: str, path: str) -> str:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: {self._name}\r\nConnection: close\r\n\r\n".encode()
        )
        return read_all(connection)[9:12].decode() or "nothing"

    def idle(self) -> list[socket.socket | ssl.SSLSocket]:
        """Half of them have had an answer, a quarter are TLS, a quarter have said nothing."""
        held: list[socket.socket | ssl.SSLSocket] = []
        for number in range(IDLE):
            port = 443 if number % 4 == 0 else 80
            connection = socket.create_connection((self._gateway.address, port), 20, (self._gateway.acme, 0))
            if number % 4 == 0:
                held.append(self._trust.wrap_socket(connection, server_hostname=self._name))
            else:
                held.append(connection)
                if number % 4 < 3:
                    connection.sendall(f"GET /idle HTTP/1.1\r\nHost: {self._name}\r\n\r\n".encode())
                    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        return held


def resident(pid: int) -> float:
    """MiB of a process (proc(5), VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def settled(gateway: Any) -> float:
    """MiB once no connection is left."""
    deadline = time.monotonic() + 30
    while gateway.stats()["connections"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{gateway.stats()['connections']} connections stay for ever")
        time.sleep(0.1)
    return resident(gateway.pid)


def course_of(gateway: Any, name: str, rounds: int) -> dict[str, Any]:
    """The course of resident memory; `rounds` of idle connections."""
    clients = [Clients(gateway, name) for _ in range(CLIENTS)]
    course = [settled(gateway)]
    print(f"at the start: {course[0]:.1f} MiB", flush=True)
    began = time.monotonic()
    for first in range(0, SEQUENTIAL, STEP):
        each = STEP // CLIENTS
        with ThreadPoolExecutor(CLIENTS) as pool:
            done = [pool.submit(c.some, first + n * each, each) for n, c in enumerate(clients)]
        for one in done:
            one.result()
        course.append(settled(gateway))
        rate = (first + STEP) / (time.monotonic() - began)
        print(f"after {first + STEP:,} connections: {course[-1]:.1f} MiB ({rate:.0f} a second)", flush=True)
    answers: dict[str, int] = {}
    for client in clients:
        for said, count in client.answers.items():
            answers[said] = answers.get(said, 0) + count
    print(f"answers: {dict(sorted(answers.items()))}")
    held, after = [], []
    for number in range(rounds):
        sockets = clients[0].idle()
        held.append(resident(gateway.pid))
        for connection in sockets:
            connection.close()
        after.append(settled(gateway))
        print(
            f"{IDLE:,} idle, round {number + 1}: {held[-1]:.1f} MiB, afterwards {after[-1]:.1f} MiB",
            flush=True,
        )
    return {"course": course, "held": held, "after": after, "answers": answers}


def rows(found: dict[str, Any]) -> list[Row]:
    """As the results file holds them."""
    course, held, after = found["course"], found["held"], found["after"]
    return [
        Row(
            f"resident memory after {SEQUENTIAL:,} connections / after the first {STEP:,}",
            course[-1] / course[1],
            GOAL,
            "down",
            {
                "ours_mib": round(course[-1], 1),
                "peer_mib": round(course[1], 1),
                "course_mib": [round(each, 1) for each in course],
            },
        ),
        Row(
            f"resident memory after {IDLE:,} idle connections closed / after the first such round",
            after[-1] / after[0],
            GOAL,
            "down",
            {
                "ours_mib": round(after[-1], 1),
                "peer_mib": round(after[0], 1),
                "before_mib": round(course[-1], 1),
                "held_mib": [round(each, 1) for each in held],
                "kib_each": round((held[0] - course[-1]) * 1024 / IDLE, 1),
            },
        ),
    ]


def measure(rounds: int) -> list[Row]:
    """On loopback."""
    sys.path.insert(0, str(HARNESS))
    import loopback  # its directory is no package

    with tempfile.TemporaryDirectory(prefix="egress-memory-") as directory:
        gateway = loopback.Gateway(Path(directory))
        gateway.plain.shutdown()
        gateway.plain.server_close()
        command = (sys.executable, "-m", "tests.bench.memory", gateway.address, str(gateway.plain.port))
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            return rows(course_of(gateway, loopback.NAME, rounds))
        finally:
            server.kill()
            server.wait()
            gateway.close()


if __name__ == "__main__":  # the server, in a process of its own
    asyncio.run(origin(sys.argv[1], int(sys.argv[2])))
