"""Sizes that a request or a response may have, in bytes; 0 is never "unlimited", it is an error."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

SIZE = re.compile(r"([1-9][0-9]{0,14})(B|KiB|MiB|GiB|TiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MAX_SIZE = 2**50


def parse_size(value: object) -> int:
    """`8KiB`, `10MiB`, `512` → bytes. Raises `ValueError` that says what to write."""
    match = SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(
            f"{str(value)[:40]!r} is no size; write a number above 0 with KiB, MiB, GiB or TiB, like 8KiB"
        )
    return size


def format_size(size: int) -> str:
    """The largest unit that divides `size` evenly."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


@dataclass(frozen=True, slots=True)
class Caps:
    """Ceilings of one tenant: the request target, all header fields, and the bodies each way."""

    uri_bytes: int = 8 * 2**10
    header_bytes: int = 16 * 2**10
    request_body_bytes: int = 10 * 2**20
    response_body_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 1 <= getattr(self, field.name) <= MAX_SIZE:
                raise ValueError(f"{field.name} must be in 1…{MAX_SIZE}")


# What a tenant's own document may ask for at most, unless operator.yaml says otherwise.
DEFAULT_CEILINGS = Caps(
    uri_bytes=32 * 2**10,
    header_bytes=64 * 2**10,
    request_body_bytes=5 * 2**30,
    response_body_bytes=2**40,
)
