"""Much at once: an intercepted download and a tunnel that is passed through unread, and what a gigabyte costs."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import loads
from tests.bench.courses import OURS, Course, Goals, compared
from tests.bench.field import Field
from tests.bench.loads import Load, Seat
from tests.bench.rows import Row

SECONDS = 4
CONNECTIONS = 4
DOWNLOAD: Goals = {"squid": 2.0, "mitmproxy": None, "direct": None}
TUNNEL: Goals = {"squid": 1.5, "squid by CONNECT": 1.5, "direct": 0.9}
COST: Goals = {"squid": 0.6, "squid by CONNECT": 0.6}


def download(field: Field, rounds: int) -> list[Row]:
    """HTTPS, read and encrypted anew."""
    return _measured("intercepted bulk download", "pour", field, rounds, goals=DOWNLOAD)


def tunnel(field: Field, rounds: int) -> list[Row]:
    """A ClientHello for a name that the operator passes through, and then octets that nobody reads."""
    return _measured("passthrough tunnel bulk", "tunnel", field, rounds, goals=TUNNEL)


def _measured(work: str, mode: str, field: Field, rounds: int, *, goals: Goals) -> list[Row]:
    def put(seats: Sequence[Seat]) -> Load:
        return loads.client(mode, seats[:1], "https", SECONDS, CONNECTIONS)

    def rate(course: Course) -> float:
        return course.median(lambda load: load.megabytes_per_second)

    def cost(course: Course) -> float:
        return course.cpu_median(lambda load: load.bytes)

    def cost_first(course: Course) -> dict[str, object]:
        told = course.by_byte()
        return {"cpu_s_a_gb": told.pop("cpu_s_a_gb"), **told}

    print(work, flush=True)
    courses = field.rounds([OURS, *goals], rounds, put, 2 * CONNECTIONS)
    missing = field.missing
    return [
        *compared(work, courses, goals=goals, missing=missing, figure=rate, told=Course.by_byte),
        *compared(
            f"CPU seconds per GB, {work}", courses, goals=COST, missing=missing, figure=cost, told=cost_first,
            direction="down",
        ),
    ]  # fmt: skip
