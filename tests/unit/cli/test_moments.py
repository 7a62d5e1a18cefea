"""Moments as people write them, for comparison with the times of records."""

from __future__ import annotations

import click
import pytest

from appliance.audit.record import timestamp
from appliance.cli.moments import as_moment, moment

NOW = 1_795_276_800.25  # 2026-11-21T16:00:00.25Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", "2026-11-21T15:59:30.250000Z"),
        ("10m", "2026-11-21T15:50:00.250000Z"),
        ("2h", "2026-11-21T14:00:00.250000Z"),
        ("1d", "2026-11-20T16:00:00.250000Z"),
        ("999999999d", "1970-01-01T00:00:00.000000Z"),
        ("2026-11-21T16:00:00Z", "2026-11-21T16:00:00.000000Z"),
        ("2026-11-21t16:00:00.5z", "2026-11-21T16:00:00.500000Z"),
        ("2026-11-21 16:00:00+01:00", "2026-11-21T15:00:00.000000Z"),
        ("2026-11-21T16:00:00.1234567-00:30", "2026-11-21T16:30:00.123456Z"),
        ("0001-01-01T00:00:00+23:00", "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_a_moment(text: str, expected: str) -> None:
    assert moment(text, NOW) == expected


def test_what_a_record_says_is_a_moment() -> None:
    written = timestamp(NOW)
    assert moment(written, 0.0) == written


@pytest.mark.parametrize(
    "text",
    ["", "10", "0m", "-1h", "1w", "1h30m", "1.5h", "now", "yesterday", "2026-11-21", "2026-11-21T16:00Z",
     "2026-11-21T16:00:00", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-21T24:00:01Z", "2026-11-21T16:00:00+0100",
     "9999-12-31T23:59:59-23:59", "\u0661d", "1d\n", "2026-W47-6T16:00:00Z"],
)  # fmt: skip
def test_what_is_none_is_told_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time; write a span back .* or a time with its offset"):
        moment(text, NOW)


def test_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    option = click.Option(["--since"])
    context = click.Context(click.Command("log"))
    assert as_moment(context, option, "2h") == "2026-11-21T14:00:00.250000Z"
    assert as_moment(context, option, None) is None
    with pytest.raises(click.BadParameter, match="'soon' is no time; write"):
        as_moment(context, option, "soon")
