"""The appliance as one of those compared: the real one, in the lab, with policy, limits and audit on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.audit.place import current_file
from appliance.audit.tail import read_tail
from appliance.listeners import listening_pid
from appliance.processes import processes
from appliance.settings import Settings, load
from appliance.verify.case import Image
from tests.bench.figures import pin
from tests.bench.ground import PROXY_CPU, Ground
from tests.bench.loads import LoadFailed, Seat
from tests.bench.origin import SITE
from tests.lab import internet
from tests.lab.appliance import SETTINGS_FILE, Appliance
from tests.lab.containers import IMAGES, start_hardened
from tests.lab.namespaces import LabError, run

TENANT = f"lab-bench-{os.getpid()}"
"""Of its own for each run: Docker keeps the network of one that was interrupted, if it was with a container's end."""
SEATS = 8
"""Containers: the kernel lets 400 new connections a second of one container through."""
SETTLED_SECONDS = 1.0
"""The last records are of connections whose clients are gone: the worker notices after they are."""
_SCOPE = {
    "connections": 100_000,
    "new_connections_per_second": 100_000,
    "requests_per_second": 1_000_000,
    "bytes_out": "100TiB",
    "bytes_in": "100TiB",
}
LIMITS = {
    "container": {**_SCOPE, "new_connections_per_second": 400},
    "tenant": _SCOPE,
    "destination": _SCOPE,
}
"""Above every load, and counted like all limits."""
OPERATOR = {"limits": LIMITS, "passthrough": [{"hosts": [internet.BENCH_TUNNEL.name]}]}
POLICY = {
    "profile": "allowlist",
    "limits": LIMITS,
    "rules": [
        {"name": "elsewhere", "hosts": ["elsewhere.example.com"], "paths": ["/v1/**"], "query": ["page"]},
        {
            "name": "objects",
            "hosts": [SITE.name],
            "schemes": ["http", "https"],
            "ports": [80, 443],
            "paths": ["/o/*", "/bulk"],
        },
        {"name": "no-secrets", "effect": "deny", "hosts": [SITE.name], "paths": ["/secret/**"]},
    ],
}


class Ours:
    """The appliance that runs, as `peers.Peer` is one."""

    name = "appliance"
    version = "this tree"

    def __init__(self, settings: Settings, seats: Sequence[Seat]) -> None:
        self._settings = settings
        self.seats = seats

    def pids(self) -> list[int]:
        """Every process of it but the fallback, which serves nobody meanwhile."""
        names = [process.name for process in processes(self._settings) if process.name != "squid"]
        found = [listening_pid(str(self._settings.control_socket(name))) for name in names]
        if None in found:
            raise LabError("a process of the appliance is away")
        return [pid for pid in found if pid is not None]

    def workers(self) -> list[int]:
        """The gateway's workers alone."""
        count = self._settings.workers
        found = [listening_pid(str(self._settings.control_socket(f"gateway-{n}"))) for n in range(count)]
        return [pid for pid in found if pid is not None]

    def records(self) -> int:
        """How many audit records the workers have written so far."""
        return sum(self._last(f"gateway-{number}") for number in range(self._settings.workers))

    def _last(self, process: str) -> int:
        file = current_file(self._settings.audit_dir, process)
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 65536))
            tail = read_tail(stream.read())
        return tail.head.sequence if tail.head else 0

    @contextmanager
    def on_record(self, allowance: int) -> Iterator[list[int]]:
        """What is asked within has one record a request; up to `allowance` more, of those cut off at the end.

        The caller puts the number of requests into the list. Raises `LoadFailed`.
        """
        before = self.records()
        asked: list[int] = []
        yield asked
        deadline = time.monotonic() + SETTLED_SECONDS
        while (written := self.records() - before) < sum(asked) and time.monotonic() < deadline:
            time.sleep(0.01)
        if not sum(asked) <= written <= sum(asked) + allowance:
            raise LoadFailed(f"{sum(asked)} requests, but {written} audit records")


@contextmanager
def appliance(ground: Ground, *, workers: int = 1, seats: int = SEATS) -> Iterator[Ours]:
    """The appliance on this ground with its containers, its processes on the processor of proxies."""
    further = {"workers": workers, "resolver": {"servers": [{"address": internet.DNS_SERVER}]}}
    with Appliance(ground, {TENANT: json.dumps(POLICY)}, json.dumps(OPERATOR), further):
        containers = [start_hardened(TENANT, IMAGES[Image.PYTHON], ("sleep", "7200")) for _ in range(seats)]
        pids = [run("docker", "inspect", "-f", "{{.State.Pid}}", each).strip() for each in containers]
        places = [Seat(("nsenter", f"--target={pid}", "--net")) for pid in pids]
        ours = Ours(load(SETTINGS_FILE), places)
        if workers == 1:
            pin(ours.pids(), PROXY_CPU)
        try:
            yield ours
        finally:
            _remove_records(ours)


def _remove_records(ours: Ours) -> None:
    """A run writes gigabytes of them, and its own checks are done."""
    directory: Path = ours._settings.audit_dir
    for file in directory.glob("gateway-*/*.*.jsonl"):
        file.unlink()
