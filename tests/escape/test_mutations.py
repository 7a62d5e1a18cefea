"""The mutation run as a test, and what its table is like."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from appliance.verify import battery
from tests.escape.mutate import ROOT, Bench, bench, run
from tests.escape.mutation import Edit, Kernel
from tests.escape.mutations import MUTATIONS
from tests.lab.world import plan

AT_LEAST = 30
CHOSEN = [mutation for number, mutation in enumerate(MUTATIONS) if number % 3 == 0]
"""Every third row of a table that is grouped by what is protected; `make mutations` tries all."""


def test_the_table_names_what_is_there() -> None:
    """Each text stands once in the program, which is still a program without it; each case exists."""
    cases = {case.id: case for case in battery.gather(plan())}
    names = Counter(mutation.name for mutation in MUTATIONS)
    assert len(CHOSEN) >= AT_LEAST
    assert max(names.values()) == 1
    for mutation in MUTATIONS:
        assert mutation.case in cases
        assert mutation.edits or mutation.kernel
        assert mutation.layer in {None, *cases[mutation.case].layers}
        texts = {edit.file: (ROOT / edit.file).read_text() for edit in mutation.edits}
        for edit in mutation.edits:
            texts[edit.file] = edit.applied(texts[edit.file])
        for file, text in texts.items():
            if file.endswith(".py"):
                ast.parse(text)


def test_a_text_that_is_not_there_once_is_no_mutation() -> None:
    for text in ("", "a a"):
        with pytest.raises(ValueError, match="a mutation needs one"):
            Edit("x.py", "a", "b").applied(text)
        with pytest.raises(ValueError, match="a mutation needs one"):
            Kernel((("a", "b"),)).applied(text)


@pytest.fixture(scope="module")
def stand() -> Iterator[Bench]:
    with bench() as found:
        yield found


@pytest.mark.system
@pytest.mark.timeout(600)
def test_mutations_are_noticed(stand: Bench, record_property: Callable[[str, object], None]) -> None:
    lines: list[str] = []
    problems = run(stand, CHOSEN, lines.append)
    record_property("said", "\n".join(lines))
    assert problems == []
