"""Names of tests that prove rows: no test claims a row that there is not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.requirements.rows import ALL, DUE, LATER, TITLES, rows_of

TESTS = Path(__file__).resolve().parents[2]


def test_every_row_is_due_or_later() -> None:
    assert set(DUE) | set(LATER) == ALL
    assert not set(DUE) & set(LATER)
    assert set(TITLES) <= set(DUE)


@pytest.mark.parametrize(
    ("test", "rows"),
    [
        ("t.py::test_000_37_a_bit", {"000-37"}),
        ("t.py::TestIt::test_004_16_004_17_both[000_01]", {"004-16", "004-17"}),
        ("t.py::test_rfc9449_c_and_rfc8705_5_x", {"rfc9449-c", "rfc8705-5"}),
        ("tests/000_01/t.py::test_of_1000_37_things", set()),
        ("t.py::test_a_file_of_0600_and_000_1", set()),
    ],
)
def test_a_name_says_what_it_proves(test: str, rows: set[str]) -> None:
    assert rows_of(test) == rows


def test_a_row_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="004-99"):
        rows_of("t.py::test_004_99_x")


def test_no_test_of_the_tree_claims_another() -> None:
    names = [
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 1000
    for name in names:
        rows_of(name)
