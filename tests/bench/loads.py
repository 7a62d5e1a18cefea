"""The loads that are put on everybody alike, and what came of each.

A load is put from a seat: a place in a client's network namespace. Every answer has to be a 200; one that is not
ends the run, for a figure of refusals is none.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.ground import CLIENT, LOAD_CPU, knowing, pinned
from tests.bench.origin import PATHS, SITE
from tests.lab import internet

SCRIPT = Path(__file__).with_name("data") / "wrk.lua"
CONNECTIONS = 32


class LoadFailed(RuntimeError):
    """An answer was none, or no 200; `str()` says how many of which kind."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load has brought; times are of a request."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bytes: int = 0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes / self.seconds / 1e6


@dataclass(frozen=True, slots=True)
class Seat:
    """Where clients are: `enter` are the words that run a command there.

    `proxy`: the authority of a proxy that has to be asked by name, else None: the way itself leads through it.
    `hangs_up`: after every answer, and without a word of it before, which wrk takes for a failed read.
    """

    enter: tuple[str, ...]
    proxy: str | None = None
    hangs_up: bool = False

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The words that run `argv` here, on the processor of loads, knowing the lab's names."""
        return (*self.enter, *knowing(pinned(LOAD_CPU, argv)))


def wrk(
    seats: Sequence[Seat],
    scheme: str,
    seconds: int,
    *,
    connections: int = CONNECTIONS,
    close: bool = False,
) -> Load:
    """GET of 1 KiB for some seconds, `connections` in all from the seats together. Raises `LoadFailed`."""
    each = max(1, connections // len(seats))
    commands = []
    for seat in seats:
        base = f"{scheme}://{seat.proxy or SITE.name}/"
        target = "-" if seat.proxy is None else f"{scheme}://{SITE.name}"
        argv = ("wrk", "-t1", f"-c{each}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), base, "--",
                target, SITE.name, str(PATHS), "close" if close else "keep")  # fmt: skip
        commands.append(seat.command(argv))
    return _at_once(seats, commands, seconds)


def client(
    mode: str,
    seats: Sequence[Seat],
    scheme: str,
    seconds: int,
    connections: int,
    *further: str,
    to: internet.Site = SITE,
) -> Load:
    """A load of `data/load.c`, see there. Raises `LoadFailed`."""
    each = max(1, connections // len(seats))
    site = internet.BENCH_TUNNEL if mode == "tunnel" else to
    kind = "-" if mode == "tunnel" else {"http": "plain", "https": "tls"}[scheme]
    argv = (str(CLIENT), mode, kind, site.name, site.address, str(each), str(seconds), *further)
    commands = [seat.command(("env", f"PROXY={seat.proxy or ''}", *argv)) for seat in seats]
    return _at_once(seats, commands, seconds)


def _at_once(seats: Sequence[Seat], commands: Sequence[Sequence[str]], seconds: int) -> Load:
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        for command in commands
    ]
    said = [process.communicate(timeout=seconds + 60)[0] for process in running]
    return together([parse(text, hangs_up=seat.hangs_up) for text, seat in zip(said, seats, strict=True)])


def parse(text: str, *, hangs_up: bool = False) -> Load:
    """What `wrk.lua` and `load.c` say at their end. Raises `LoadFailed`."""
    last = text.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise LoadFailed(f"no summary was said: {text[-500:]}")
    summary = json.loads(last)
    errors = {kind: count for kind, count in summary["errors"].items() if count}
    if hangs_up and errors.get("read", 0) <= summary["requests"]:
        errors.pop("read", None)
    if errors or not (summary["requests"] or summary["bytes"]):
        raise LoadFailed(f"of {summary['requests']} requests went wrong: {errors or 'all'}")
    return Load(
        summary["requests"],
        summary["microseconds"] / 1e6,
        summary["p50_us"] / 1000,
        summary["p99_us"] / 1000,
        summary["bytes"],
    )


def together(loads: Sequence[Load]) -> Load:
    """Loads that were put at the same time as one; of their percentiles the mean p50 and the worst p99."""
    return Load(
        sum(load.requests for load in loads),
        max(load.seconds for load in loads),
        sum(load.p50_ms for load in loads) / len(loads),
        max(load.p99_ms for load in loads),
        sum(load.bytes for load in loads),
    )
