"""What holds for every test: nothing is written into the checkout, and what may run at the same time.

After a run as root, a run as anybody else could not write into the checkout.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

set_hypothesis_home_dir(Path("~/.cache/egress-appliance/hypothesis").expanduser())

HERE = Path(__file__).parent
ROOT = HERE.parent
SYSTEM = HERE / "system"
LAB = "lab"
PREPARED = HERE / "test_prepared.py"
APART = (
    *(SYSTEM / name for name in ("docker", "gateway", "netns", "squid")),
    SYSTEM / "test_full_disk.py",
    SYSTEM / "test_under_systemd.py",
)
"""Tests of real processes that touch nothing of the host's that another test looks at."""


class HostInOrder(LoadScopeScheduling):  # type: ignore[misc]
    """One worker has all that uses the lab or the host's namespaces, in order, and from the beginning.

    Everything else goes file by file to whichever is free, first what the lab will need later.
    """

    def _assign_work_unit(self, node: object) -> None:
        """The first to ask gets `PREPARED`, the second the lab; see `test_prepared`."""
        waiting = (unit for unit in (str(PREPARED), LAB) if unit in self.workqueue)
        if (first := next(waiting, None)) is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        file = ROOT / nodeid.partition("::")[0]
        shared = file.is_relative_to(HERE / "escape") or file.is_relative_to(SYSTEM)
        apart = any(file.is_relative_to(directory) for directory in APART)
        return LAB if shared and not apart else str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> HostInOrder:
    """`make test` runs two workers."""
    return HostInOrder(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test has to say also when it passed: its property `said`."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "said":
                terminalreporter.write_line(text)
