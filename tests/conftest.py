"""What holds for every test: nothing is written into the checkout, and what may run at the same time.

After a run as root, a run as anybody else could not write into the checkout.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path("~/.cache/egress-appliance/hypothesis").expanduser())

HERE = Path(__file__).parent
SYSTEM = HERE / "system"
APART = (SYSTEM / "docker", SYSTEM / "gateway", SYSTEM / "squid")
"""Tests of real processes that touch nothing of the host's that another test looks at."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` runs two workers: one has all that uses the lab or the host's namespaces, in order.

    Everything else goes file by file to whichever is free.
    """
    for item in items:
        file = item.path
        shared = file.is_relative_to(HERE / "escape") or file.is_relative_to(SYSTEM)
        apart = any(file.is_relative_to(directory) for directory in APART)
        group = "host" if shared and not apart else str(file.relative_to(HERE))
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test has to say also when it passed: its property `said`."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "said":
                terminalreporter.write_line(text)
