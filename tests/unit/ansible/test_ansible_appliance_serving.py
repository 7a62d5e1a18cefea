"""What the processes were started with is remembered of units that systemd has read."""

from __future__ import annotations

import pytest
from tasks import flat, read


@pytest.mark.parametrize("topic", ["units", "serving"])
def test_systemd_reads_its_units_anew_though_nothing_was_written(topic: str) -> None:
    """A run that is cut off after it wrote them leaves the next one nothing to write."""
    tasks = flat(read(f"roles/appliance/tasks/{topic}.yml"))
    (systemd,) = [given for task in tasks if (given := task.get("ansible.builtin.systemd_service"))]
    assert systemd["daemon_reload"] is True
