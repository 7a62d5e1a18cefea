"""The states of a session and what may follow each of them.

    HEAD ──refused──► HEAD or CLOSING
     │ allowed
     ├──no connection at hand──► OPENING ──► EXCHANGE
     └──────────pooled connection──────────►    │
    HEAD ◄──answered, both may go on────────────┤
    CLOSING ◄──answered, and that was all───────┤
    CLOSED ◄──the server switches protocols─────┘        any ──connection gone──► CLOSED

| state    | the container's bytes                      | deadline                        |
|----------|--------------------------------------------|---------------------------------|
| HEAD     | are read as heads                          | of a head, or of being idle     |
| OPENING  | wait, at most `buffered_bytes`             | the resolver's and the dialler's |
| EXCHANGE | are the body; what is behind it waits      | of the next byte of either side |
| CLOSING  | are thrown away                            | `closing_seconds`               |
| CLOSED   | go elsewhere, or there are none            | none, or another stage's        |
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """See the module. Integers, for a member of a plain enumeration is hashed by a call in Python."""

    HEAD = 0
    OPENING = 1
    EXCHANGE = 2
    CLOSING = 3
    CLOSED = 4


# As names of their own: CPython 3.11 takes four times as long to look into an enumeration.
HEAD, OPENING, EXCHANGE, CLOSING, CLOSED = State

NEXT = {
    HEAD: frozenset({HEAD, OPENING, EXCHANGE, CLOSING, CLOSED}),
    OPENING: frozenset({HEAD, EXCHANGE, CLOSING, CLOSED}),
    EXCHANGE: frozenset({HEAD, OPENING, CLOSING, CLOSED}),
    CLOSING: frozenset({CLOSED}),
    CLOSED: frozenset[State](),
}


class IllegalTransition(RuntimeError):
    """A mistake of ours; whoever meets it shuts both sides."""


def after(state: State, following: State) -> State:
    """`following`, where it may follow `state`. Raises `IllegalTransition`."""
    if following not in NEXT[state]:
        raise IllegalTransition(f"{state.name} to {following.name}")
    return following
