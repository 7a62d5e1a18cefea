"""Texts and structured values that leave the process: errors, log lines, audit fields, metric labels."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Callable, Mapping
from typing import Any

TOO_DEEP = "[scrubbed:too-deep]"
_DEEPEST = 16


def scrub_text(text: str, octets: Callable[[bytes], bytes]) -> str:
    """A text without secrets; what is no Unicode in it is replaced."""
    return octets(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def scrub_value(value: Any, octets: Callable[[bytes], bytes], depth: int = 0) -> Any:
    """A copy with all texts and octets scrubbed, keys of mappings too: plain values, dicts, lists, tuples.

    A dataclass becomes a dict, a set a list, and what is none of these the text that it would be written as.
    A number that looks like a secret becomes a marker.
    """
    if depth > _DEEPEST:
        return TOO_DEEP
    match value:
        case None | bool():
            return value
        case int() | float():
            return _number(value, octets)
        case str():
            return scrub_text(str(value), octets)
        case bytes() | bytearray() | memoryview():
            return octets(bytes(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key, octets): scrub_value(each, octets, depth + 1) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(scrub_value(each, octets, depth + 1) for each in value)
    if isinstance(value, list | set | frozenset):
        return [scrub_value(each, octets, depth + 1) for each in value]
    return scrub_text(str(value), octets)


def scrub_error(error: BaseException, octets: Callable[[bytes], bytes]) -> str:
    """The traceback of an exception and of its causes, without the values of variables."""
    told = traceback.TracebackException.from_exception(error, capture_locals=False, compact=True)
    return scrub_text("".join(told.format()), octets)


def _key(key: Any, octets: Callable[[bytes], bytes]) -> Any:
    return scrub_value(key if isinstance(key, str | int | bytes) else str(key), octets)


def _number(value: float, octets: Callable[[bytes], bytes]) -> float | str:
    written = repr(value)
    if isinstance(value, float) and not math.isfinite(value):
        return written
    scrubbed = scrub_text(written, octets)
    return value if scrubbed == written else scrubbed
