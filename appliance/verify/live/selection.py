"""Which rows of the one table are tried against the instance that serves (pure).

A row is here when it takes nothing from anybody: it needs no site that a policy would have to allow, asks for
no name and no address that is somebody else's, and what it asks of the engine would be harmless if it were
granted. Its layers are those for which nothing has to be stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from appliance.verify import battery
from appliance.verify.case import Case, Layer, Seat

ALONE = (
    "A1-literal", "A1-literal-tls", "A1-private", "A1-private-tls", "A1-no-variables",
    "A4-public", "A4-silent", "A4-private", "A4-gateway", "A4-host", "A4-host-listening",
    "A6-udp", "A6-udp-private", "A6-udp-long", "A6-fragments", "A6-source-route",
    "A7-ping", "A7-raw", "A7-unbound", "A8", "A9",
    "A12-kernel", "A12-power", "A13-mark", "A13-unbound", "A13-gateway", "A13-resolver",
    "A16", "A17", "A18-aliases", "A18-published", "A19-reader", "A23-engine", "A24-relay", "A25", "A26",
    "B1-foreign", "B1-taken-gateway", "B1-taken-resolver", "B1-taken-squid", "B2",
    "B3-questions", "B3-proxied", "B8-dot", "B8-doq", "B9-embedded", "B9-back-door",
    "C1", "C2", "C3", "C4", "C5-denied", "C7", "C8", "C11", "D12-key", "D14",
    "C12-taken-gateway", "C12-taken-resolver", "C12-taken-squid",
    "C13-taken-gateway", "C13-taken-resolver", "C13-taken-squid",
    "A7-taken-gateway", "A7-taken-resolver", "A7-taken-squid",
)  # fmt: skip
"""Words of `battery.matches`, whole ids or attacks."""

WITH_ANOTHER = (
    "A11", "A19-lister", "A19-proxied", "A19-unbound", "A19-taken-gateway", "A19-taken-resolver",
    "A19-taken-squid", "A23-host-network", "A23-siblings", "A24-dual-homed",
)  # fmt: skip
"""The same, where there is a second tenant."""

# Our names are below `invalid` (RFC 6761), so that no name server anywhere answers for them. They are judged
# as names of nobody before any list is asked.
AS_HERE = (("host-not-listed", "name-not-public"),)


def live(cases: Iterable[Case], *, another: bool) -> list[Case]:
    """The rows for the instance that serves, as they are there; `another`: if there is a second tenant."""
    words = (*ALONE, *WITH_ANOTHER) if another else ALONE
    return [_here(case) for case in cases if layers(case) and any(_means(case, word) for word in words)]


def layers(case: Case) -> frozenset[Layer]:
    """The layers at which it takes no service away. A case that says it is disruptive has none."""
    if case.disruptive:
        return frozenset()
    return frozenset(layer for layer in case.layers if not case.takes_away(layer))


def tried(cases: Sequence[Case]) -> int:
    """How many results the cases have, each of them at each of its layers."""
    return sum(len(case.layers) for case in cases)


def _means(case: Case, word: str) -> bool:
    """A whole id or an attack. A process that was taken over is named by its id."""
    return case.id == word or (case.attack == word and battery.matches(case, word) and not _taken(case))


def _taken(case: Case) -> bool:
    return case.seat in {Seat.GATEWAY, Seat.RESOLVER, Seat.SQUID}


def _here(case: Case) -> Case:
    expect = case.expect
    for there, here in AS_HERE:
        expect = tuple(text.replace(there, here) for text in expect)
    return replace(case, layers=layers(case), expect=expect)
