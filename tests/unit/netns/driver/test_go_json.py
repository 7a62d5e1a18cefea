"""Reading JSON so that dockerd and we read the same."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.driver.go_json import Struct, UnclearBody, is_set, read_object


def test_fields_by_folded_name() -> None:
    struct = read_object(b'{"cAPDROP": ["ALL"], "n": null, "Inner": {"x": 1}, "M": {"a": 1, "A": 2}}')
    assert struct.texts("CapDrop") == ("ALL",)
    assert (struct.text("N"), struct.flag("n"), struct.integer("n"), struct.struct("n")) == (
        "",
        False,
        0,
        None,
    )
    inner = struct.struct("inner")
    assert inner is not None
    assert inner.integer("X") == 1
    assert struct.mapping("m") == {"a": 1, "A": 2}


@pytest.mark.parametrize(
    "read",
    [
        lambda s: s.text("five"),
        lambda s: s.flag("five"),
        lambda s: s.texts("five"),
        lambda s: s.struct("five"),
        lambda s: s.structs("five"),
        lambda s: s.structs("list"),
        lambda s: s.mapping("five"),
        lambda s: s.integer("true"),
        lambda s: s.integer("float"),
        lambda s: s.texts("list"),
    ],
)
def test_another_type_is_refused(read: object) -> None:
    struct = read_object(b'{"five": 5, "list": [5], "true": true, "float": 1.5}')
    with pytest.raises(UnclearBody):
        read(struct)  # type: ignore[operator]


def test_null_in_a_list_is_an_empty_struct() -> None:
    assert read_object(b'{"m": [null]}').structs("M")[0].text("type") == ""


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, ()])
def test_zero_values(value: object) -> None:
    assert not is_set(value)


@pytest.mark.parametrize("value", [True, 1, -1, "x", [0], {"a": None}])
def test_set_values(value: object) -> None:
    assert is_set(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_unclear(body: bytes) -> None:
    with contextlib.suppress(UnclearBody):
        assert isinstance(read_object(body), Struct)
