"""`make requirements`: runs every test that proves a row, and prints row → tests → passed.

Exit status 0 when every row that is due is proved; the last line counts them. A row whose tests were skipped,
or failed, or that has none, is not proved; nor is one of which a part is proved of a module that no process loads.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.requirements.in_use import unused
from tests.requirements.rows import DUE, LATER, TITLES, rows_of

ROOT = Path(__file__).resolve().parents[2]
SHOWN = 2
PROVED = "proved"


class Ledger:
    """A pytest plugin: keeps the tests that name a row, and what came of each."""

    def __init__(self) -> None:
        self.passed: dict[str, set[str]] = defaultdict(set)
        self.failed: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Run nothing else."""
        chosen = [item for item in items if rows_of(item.nodeid)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test counts as passed when its call passed and nothing around it failed."""
        test = report.nodeid.partition("[")[0]
        for row in rows_of(report.nodeid):
            if report.failed or report.skipped:
                self.failed[row].add(test)
            elif report.when == "call":
                self.passed[row].add(test)


def _state(passed: set[str], failed: set[str]) -> str:
    if failed:
        return "FAILED"
    if not passed:
        return "NO TEST"
    return "UNUSED" if unused(passed) else PROVED


def main() -> int:
    """See the module."""
    ledger = Ledger()
    arguments = ["-q", "-p", "no:cacheprovider", *(sys.argv[1:] or [str(ROOT / "tests")])]
    pytest.main(arguments, plugins=[ledger])
    proved = 0
    print()
    for row in DUE:
        passed, failed = ledger.passed[row] - ledger.failed[row], ledger.failed[row]
        state = _state(passed, failed)
        proved += state == PROVED
        names = sorted(test.rsplit("::", 1)[-1] for test in passed | failed)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print(f"{row:<11} {TITLES.get(row, ''):<34} {state:<8} {', '.join(names[:SHOWN])}{more}")
    begun = [row for row in LATER if ledger.passed[row]]
    parts = sorted(unused(test for tests in ledger.passed.values() for test in tests))
    print(f"\nUNUSED: tests pass, of a module that no process loads: {', '.join(parts) or 'none'}")
    print(f"not yet due: {len(LATER)} rows; proved already: {', '.join(begun) or 'none'}")
    print(f"requirements: {proved} of {len(DUE)} rows proved")
    return 0 if proved == len(DUE) else 1


if __name__ == "__main__":
    sys.exit(main())
