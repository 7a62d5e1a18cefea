"""GET of 1 KiB, by one worker: plain and intercepted over kept connections, and with a new connection for each."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import loads
from tests.bench.courses import OURS, Course, Goals, compared
from tests.bench.field import Field, Put
from tests.bench.loads import Load, Seat
from tests.bench.rows import Row

SECONDS = 4
PLAIN: Goals = {"squid": 1.3, "envoy": 1.0, "haproxy": None, "tinyproxy": None, "direct": None}
INTERCEPTED: Goals = {"squid": 1.0, "mitmproxy": 10.0, "direct": None}
FRESH: Goals = {"squid": 1.0, "squid by CONNECT": 1.0, "mitmproxy": None, "direct": None}


def plain(field: Field, rounds: int) -> list[Row]:
    """HTTP over kept connections."""

    def put(seats: Sequence[Seat]) -> Load:
        return loads.wrk(seats[:1], "http", SECONDS)

    return _measured("plain GET 1 KiB keep-alive, one worker", field, rounds, put, PLAIN)


def intercepted(field: Field, rounds: int) -> list[Row]:
    """HTTPS over kept connections, each read and encrypted anew."""

    def put(seats: Sequence[Seat]) -> Load:
        return loads.wrk(seats[:1], "https", SECONDS)

    return _measured("intercepted HTTPS GET 1 KiB keep-alive, one worker", field, rounds, put, INTERCEPTED)


def fresh(field: Field, rounds: int) -> list[Row]:
    """HTTPS with a full handshake for every request; the name's certificate is there since the round before."""

    def put(seats: Sequence[Seat]) -> Load:
        return loads.client("churn", seats, "https", SECONDS, loads.CONNECTIONS)

    return _measured("new intercepted HTTPS connection per request, warm leaf", field, rounds, put, FRESH)


def _measured(work: str, field: Field, rounds: int, put: Put, goals: Goals) -> list[Row]:
    print(work, flush=True)
    courses = field.rounds([OURS, *goals], rounds, put, loads.CONNECTIONS)
    return compared(
        work,
        courses,
        goals=goals,
        missing=field.missing,
        figure=lambda course: course.median(lambda load: load.per_second),
        told=Course.by_request,
    )
