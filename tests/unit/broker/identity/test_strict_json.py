"""appliance.broker.identity.strict_json: one reading, or none."""

from __future__ import annotations

import pytest

from appliance.broker.identity.strict_json import parse_object


def test_an_object_is_read() -> None:
    assert parse_object('{"a": [1, {"b": "\u00e9"}], "c": null}'.encode()) == {
        "a": [1, {"b": "\u00e9"}],
        "c": None,
    }


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'"a"', b"null", b"1", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":2}}', b'{"a":NaN}', b'{"a":Infinity}',
     b'{"a":1} {}', b'{"a":1', b"\xff", b'\xef\xbb\xbf{"a":1}', b"[" * 100_000, b'{"a":' * 50_000],
)  # fmt: skip
def test_what_two_readers_could_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not one JSON object"):
        parse_object(data)
