"""A moment as a person writes it, as the audit records write theirs."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import datetime

import click

from appliance.audit.record import timestamp

_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# RFC 3339 section 5.6, `date-time`: seconds and offset are not optional.
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MEND = "write a span back from now (30s, 10m, 2h, 1d) or a time with its offset (2026-11-21T16:00:00Z)"


def moment(text: str, now: float) -> str:
    """RFC 3339 in UTC. `text` is a time, or a span back from `now` (Unix time). Raises `ValueError`."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return timestamp(max(0.0, now - int(span[1]) * _SECONDS[span[2]]))
    if _DATE_TIME.fullmatch(text):
        with contextlib.suppress(ValueError, OverflowError):  # the 30th of February, the year 0
            return timestamp(max(0.0, datetime.fromisoformat(text.upper()).timestamp()))
    raise ValueError(f"{text!r} is no time; {_MEND}")


def as_moment(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """`moment` as the callback of an option."""
    del context, parameter
    if value is None:
        return None
    try:
        return moment(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
