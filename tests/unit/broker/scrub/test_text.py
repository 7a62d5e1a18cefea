"""Errors, records and labels (004-38, 004-40, 004-41)."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath

import pytest

from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.text import TOO_DEEP
from tests.unit.broker.scrub.test_forms import renderings
from tests.unit.broker.scrub.test_patterns import TRUE

SECRET = "swordfish-7/swordfish"
SCRUBBER = Scrubber([SECRET.encode(), b"31415926535"])
MARK = "[scrubbed:secret]"


@dataclass(frozen=True, slots=True)
class Record:
    path: str
    status: int
    items: tuple[str, ...]
    more: dict[str, object]


class Colour(StrEnum):
    RED = "red"


def raised() -> Exception:
    local = SECRET + "-local"
    try:
        try:
            raise ValueError(f"bad key {SECRET}")  # noqa: TRY301 - its traceback is what is looked at
        except ValueError as error:
            assert local
            raise RuntimeError("call failed: " + SECRET.encode().hex()) from error
    except RuntimeError as error:
        error.add_note(f"note {SECRET}")
        return error


def test_004_38_messages_causes_and_notes_are_scrubbed() -> None:
    told = SCRUBBER.error(raised())
    assert f"ValueError: bad key {MARK}" in told
    assert f"RuntimeError: call failed: {MARK}" in told
    assert f"note {MARK}" in told
    assert "in raised" in told
    assert SECRET not in told


def test_004_38_values_of_variables_are_never_told() -> None:
    told = SCRUBBER.error(raised())
    assert "local = '" not in told
    assert "-local" not in told.replace('SECRET + "-local"', "")


def test_004_38_004_41_every_form_is_scrubbed_from_text() -> None:
    for name, rendered in renderings(SECRET.encode()).items():
        assert SCRUBBER.text(f"<{rendered.decode()}>") == f"<{MARK}>", name
    for name, tokens in TRUE.items():
        assert SCRUBBER.text(f"label={tokens[0]}") == f"label=[scrubbed:{name}]"


def test_text_without_a_secret_stays_as_it_is() -> None:
    for text in ("", "plain", "ünïcödé 😀", "a\x00b"):
        assert SCRUBBER.text(text) == text
    assert "a" in SCRUBBER.text("a\ud800")


def test_004_40_a_record_is_scrubbed_in_keys_and_values_at_any_depth() -> None:
    record = Record(
        path=f"/v1/{SECRET}",
        status=200,
        items=("a", SECRET.encode().hex()),
        more={SECRET: [{"deep": {SECRET, "b"}}], "raw": SECRET.encode(), "n": None, "t": True, "f": 1.5},
    )
    for value in (record, asdict(record), OrderedDict(asdict(record))):
        scrubbed = SCRUBBER.value(value)
        assert scrubbed["path"] == f"/v1/{MARK}"
        assert scrubbed["status"] == 200
        assert scrubbed["items"] == ("a", MARK)
        assert sorted(scrubbed["more"][MARK][0]["deep"]) == sorted([MARK, "b"])
        assert scrubbed["more"] | {MARK: 0} == {MARK: 0, "raw": MARK.encode(), "n": None, "t": True, "f": 1.5}
    assert SECRET not in json.dumps(SCRUBBER.value([asdict(record) | {"more": 1}]))


@pytest.mark.parametrize(
    ("value", "scrubbed"),
    [
        (31415926535, MARK),
        (12, 12),
        (float("nan"), "nan"),
        (Colour.RED, "red"),
        (datetime(2026, 11, 21, tzinfo=UTC), "2026-11-21 00:00:00+00:00"),
        (PurePosixPath("/a") / SECRET, f"/a/{MARK}"),
        (bytearray(SECRET, "ascii"), MARK.encode()),
        (memoryview(SECRET.encode()), MARK.encode()),
        ({(SECRET, 1): 2}, {f"('{MARK}', 1)": 2}),
        (ValueError(SECRET), MARK),
    ],
)
def test_004_40_what_is_no_text_is_scrubbed_as_what_it_is_written_as(value: object, scrubbed: object) -> None:
    assert SCRUBBER.value(value) == scrubbed


def test_a_value_without_bottom_ends() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert TOO_DEEP in repr(SCRUBBER.value(endless))
