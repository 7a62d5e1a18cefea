"""The bounds of a message head, in bytes unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What a head may measure before it is refused with 414 (request line) or 431 (the rest).

    `encoded_slash` lets `%2F` stand in a path (never beside a dot segment): some package registries ask for
    scoped names that way. The gateway reads it, and the policy refuses it where no rule says otherwise.
    """

    request_line: int = 8 * 1024
    head: int = 64 * 1024
    header_count: int = 100
    interim_responses: int = 8  # a count: 1xx answers before the final one
    encoded_slash: bool = False


DEFAULT_LIMITS = HeadLimits()
