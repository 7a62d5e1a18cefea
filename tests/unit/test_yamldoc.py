"""YAML as data with positions: nothing is constructed, nothing is doubled, nothing grows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from appliance.yamldoc import (
    EVENTS_IN_A_STEP,
    MAX_BYTES,
    MAX_DEPTH,
    Position,
    YamlError,
    load,
    loading,
    loads,
)

TEXT = b"""\
profile: allowlist
rules:
  - name: a
    hosts: [x.example.com,
            y.example.com]
caps: {uri: 8KiB}
"""


def test_every_part_has_its_place() -> None:
    document = loads(TEXT, "f.yaml")
    assert document.data["rules"][0]["hosts"] == ["x.example.com", "y.example.com"]
    assert document.at(("profile",)) == Position("f.yaml", 1, 1)
    assert document.at(("rules", 0, "hosts", 1)) == Position("f.yaml", 5, 13)
    assert document.at(("caps", "uri")) == Position("f.yaml", 6, 8)
    assert str(document.at(("rules", 0))) == "f.yaml:3:5"


def test_what_is_not_there_is_at_its_nearest_parent() -> None:
    document = loads(TEXT, "f.yaml")
    assert document.at(("rules", 0, "paths", 3)) == document.at(("rules", 0))
    assert document.at(("zzz",)) == Position("f.yaml", 1, 1)
    assert loads(b"", "f.yaml").at(("a",)) == Position("f.yaml", 1, 1)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", "f.yaml:3:1: found duplicate key"),
        (b"a: {b: 1, b: 2}\n", "f.yaml:1:11: found duplicate key"),
        (b"a: [1\n", "f.yaml:2:1: "),
        (b"a: 1\n---\nb: 2\n", "f.yaml:2:1: but found another document"),
        (b"a: !!python/object/apply:os.system [id]\n", "f.yaml:1:4: could not determine a constructor"),
        (b"a: !env HOME\n", "f.yaml:1:4: could not determine a constructor"),
        (b"\xff\n", "f.yaml:1:1: not UTF-8 (byte 0)"),
        (b"a: \x07\n", "f.yaml:1:1: "),
        (b"a: &x [1]\nb: *x\n", "anchors and aliases"),
        (b"a: &x [*x]\n", "f.yaml:1:4: anchors and aliases"),
        (b"a: &x {b: 1}\nc: {<<: *x}\n", "anchors and aliases"),
        (b"a: {<<: {b: 1}}\n", "f.yaml:1:5: merge keys ('<<')"),
        (b"<<: [{b: 1}]\n", "f.yaml:1:1: merge keys ('<<')"),
        (b"? [a]\n: &x 1\n", "f.yaml:1:3: a key is plain text"),
        (b"&x a: 1\n", "f.yaml:1:1: a key is plain text"),
        (b"a: *nowhere\n", "f.yaml:1:4: "),
        (b"{{a: 1}: 1}", "f.yaml:1:2: a key is plain text"),
        (b"%YAML 1.6\n--- a\n", "not usable as YAML"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH}"),
        (b"[" * 2000, f"f.yaml:1:{MAX_DEPTH + 2}: nested deeper"),
        (b"a: !!set {b}", "f.yaml:1:4: could not determine a constructor"),
        (b"a: !!binary eA==", "f.yaml:1:4: could not determine a constructor"),
        (b"? &x\n: 1", "f.yaml:1:3: a key is plain text"),
        (b"a: !!int x\n", "not usable as YAML"),
        (b" " * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
    ],
)
def test_what_is_refused_and_where(raw: bytes, message: str) -> None:
    with pytest.raises(YamlError) as refused:
        loads(raw, "f.yaml")
    assert message in str(refused.value)
    assert str(refused.value).startswith("f.yaml:")


def test_a_few_lines_cannot_stand_for_gigabytes() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(YamlError, match="anchors and aliases"):
        loads("\n".join(lines).encode(), "bomb.yaml")


def test_the_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.yamldoc.MAX_VALUES", 4)
    assert loads(b"a: [1, 2]\n", "f").data == {"a": [1, 2]}
    with pytest.raises(YamlError, match=r"f:1:11: more than 4 values"):
        loads(b"a: [1, 2, 3]\n", "f")


def test_dates_and_the_like_are_words() -> None:
    assert loads(b"a: 2001-99-99\nb: 2001-01-01\n", "f").data == {"a": "2001-99-99", "b": "2001-01-01"}


def test_a_long_document_is_read_in_steps_as_at_once() -> None:
    text = b"".join(b"- {a: %d, b: [x, y]}\n" % number for number in range(1000))
    work, steps = loading(text, "f"), 0
    with pytest.raises(StopIteration) as done:
        while True:
            next(work)
            steps += 1
    assert done.value.value == loads(text, "f")
    assert steps > 9000 / EVENTS_IN_A_STEP - 2


@given(st.text(alphabet="ab:-[]{}!?|>'\"%#~\n .,01", max_size=60))
def test_what_is_read_is_what_another_reader_makes_of_it(text: str) -> None:
    try:
        read = loads(text.encode(), "f").data
    except YamlError:
        return
    again = YAML(typ="safe", pure=True)
    again.allow_duplicate_keys = False
    assert repr(read) == repr(again.load(text))


def test_yaml_1_2_words_stay_words() -> None:
    assert loads(b"a: yes\nb: NO\nc: on\nd: 0o17\n", "f").data == {"a": "yes", "b": "NO", "c": "on", "d": 15}


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with pytest.raises(YamlError, match=r"a\.yaml:1:1: cannot be read: No such file"):
        load(file)
    file.write_bytes(TEXT)
    assert load(file).at(("caps",)) == Position(str(file), 6, 1)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!?|>'\"%#\n ,0", max_size=60).map(str.encode))
def test_no_other_exception(raw: bytes) -> None:
    try:
        loads(raw, "f.yaml")
    except YamlError as refused:
        assert str(refused).startswith("f.yaml:")  # noqa: PT017 - either outcome is fine
