"""Sizes: units, and that 0 is never unlimited."""

from __future__ import annotations

import pytest

from appliance.policy.caps import Caps, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (512, 512),
        ("1B", 1),
        ("8KiB", 8192),
        ("10MiB", 10485760),
        ("2GiB", 2147483648),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    "text",
    [0, "0", "0KiB", -1, "-1", "", "1kb", "1 KiB", "1.5MiB", True, None, [], 1.0, "9999999TiB", "١KiB"],
)
def test_what_is_no_size_says_what_to_write(text: object) -> None:
    with pytest.raises(ValueError, match="; write a number above 0"):
        parse_size(text)


@pytest.mark.parametrize("value", [0, -1, 2**51])
def test_a_cap_is_never_zero_or_boundless(value: int) -> None:
    with pytest.raises(ValueError, match="uri_bytes"):
        Caps(uri_bytes=value)
