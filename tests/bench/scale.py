"""What a container more costs: a worker with 200 of them against one with a single one, under the same load.

Two real workers on loopback (`tests/system/gateway`) serve the same number of connections, to one source address
or spread over 200 of 20 tenants. Rounds of both alternate; what is compared is the processor's time of the worker
alone, for each request, and the memory that is its own. Beside them the table that netd's feed fills: what it takes
to learn of one container more, and to know whose a connection is.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from time import thread_time
from typing import Any

from appliance.endpoints import Endpoint, EndpointTable
from appliance.links import link_mark
from tests.bench.figures import cpu_seconds, resident_mib
from tests.bench.rows import Row

MANY, TENANTS = 200, 20
CONNECTIONS = 200
AT_ONCE = 20  # requests under way: fewer than idle connections that a worker keeps to one origin
REQUESTS = 20  # on each connection, a round
BODY = b"of the origin"
ORIGIN = """
import asyncio, sys
class Origin(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER * data.count(b"\\r\\n\\r\\n"))
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(sys.argv[1]), sys.argv[1].encode())
async def main():
    server = await asyncio.get_running_loop().create_server(Origin, "0.0.0.0", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
LOOKUPS = 20_000

sys.path.insert(0, str(Path(__file__).parents[1] / "system" / "gateway"))


class Seats:
    """A worker, and keep-alive connections from its containers."""

    def __init__(self, directory: Path, containers: int, origin: int) -> None:
        from loopback import NAME, Gateway

        directory.mkdir()
        addresses = [f"127.201.{containers % 256}.{number + 2}" for number in range(containers)]
        tenants = {address: f"tenant-{number % TENANTS}" for number, address in enumerate(addresses)}
        self.gateway = Gateway(directory, tenants=tenants, ports={"80": origin})
        self.before_mib = resident_mib([self.gateway.pid])
        self._sockets = [
            self.gateway.connect(80, addresses[number % containers]) for number in range(CONNECTIONS)
        ]
        self._request = f"GET /hello HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()

    def processor_us(self) -> float:
        """Of the worker, for each request of a round on all connections."""
        before = cpu_seconds([self.gateway.pid])
        for _ in range(REQUESTS):
            for first in range(0, CONNECTIONS, AT_ONCE):
                group = self._sockets[first : first + AT_ONCE]
                for each in group:
                    each.sendall(self._request)
                for each in group:
                    _hear(each)
        return (cpu_seconds([self.gateway.pid]) - before) / (REQUESTS * CONNECTIONS) * 1e6

    def grown_mib(self) -> float:
        """What the worker's memory has grown by since nothing was connected."""
        return resident_mib([self.gateway.pid]) - self.before_mib


def _hear(connection: socket.socket) -> None:
    """One whole answer. Raises `RuntimeError` unless it is a 200."""
    answer = b""
    while not answer.endswith(BODY):
        more = connection.recv(4096)
        answer += more
        if not more or not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"no 200: {answer!r}")


@contextmanager
def seats(*counts: int) -> Iterator[dict[int, Seats]]:
    """A worker for each number of containers, all at once."""
    with tempfile.TemporaryDirectory() as directory:
        running: dict[int, Seats] = {}
        origin = subprocess.Popen((sys.executable, "-c", ORIGIN, BODY.decode()), stdout=subprocess.PIPE)
        try:
            assert origin.stdout is not None
            port = int(origin.stdout.readline())
            for count in counts:
                running[count] = Seats(Path(directory) / str(count), count, port)
            yield running
        finally:
            for each in running.values():
                each.gateway.close()
            origin.kill()
            origin.wait()


def table_us(count: int) -> tuple[float, float]:
    """To learn of one container more beside `count` others, and to know whose a connection is: each once."""
    table = EndpointTable()
    table.replace(_endpoint(number) for number in range(count))
    more = _endpoint(count)
    begun = thread_time()
    for _ in range(LOOKUPS // 10):
        table.update([more], [])
        table.update([], [more.id])
    learned = (thread_time() - begun) / (LOOKUPS // 10)
    asked = [(_endpoint(number).address, link_mark(f"endpoint-{number}")) for number in range(count)]
    begun = thread_time()
    for place in range(LOOKUPS):
        table.on_link(*asked[place % count])
    return learned * 1e6, (thread_time() - begun) / LOOKUPS * 1e6


def _endpoint(number: int) -> Endpoint:
    address = IPv4Address("10.99.0.2") + number
    return Endpoint(f"endpoint-{number}", "network", "tenant", address, f"t-{number}", number + 1)


def measure(rounds: int) -> list[Row]:
    """Many over one: a request, and the table."""
    spent: dict[int, list[float]] = {1: [], MANY: []}
    table: dict[int, list[tuple[float, float]]] = {1: [], MANY: []}
    with seats(1, MANY) as running:
        for each in running.values():
            each.processor_us()  # pools, memos and the code itself are warm from here on
        for _ in range(rounds):
            for count, each in running.items():
                spent[count].append(each.processor_us())
                table[count].append(table_us(count))
        grown = {count: each.grown_mib() for count, each in running.items()}
    one, many = (statistics.median(spent[count]) for count in (1, MANY))
    learned, known = (
        {count: statistics.median(found[which] for found in table[count]) for count in table}
        for which in (0, 1)
    )
    request: dict[str, Any] = {
        "processor_us_1": round(one, 1),
        f"processor_us_{MANY}": round(many, 1),
        "connections": CONNECTIONS,
        "kib_a_container": round((grown[MANY] - grown[1]) * 1024 / (MANY - 1), 1),
    }
    lookups = {f"learned_us_{count}": round(learned[count], 2) for count in learned}
    lookups |= {f"known_us_{count}": round(known[count], 3) for count in known}
    return [
        Row(
            f"a worker's processor time for a request, {MANY} containers / 1",
            many / one,
            None,
            "down",
            request,
        ),
        Row(f"whose a connection is, {MANY} containers / 1", known[MANY] / known[1], None, "down", lookups),
    ]


if __name__ == "__main__":
    for row in measure(3):
        print(row.as_json())
