"""What the processes were started with is remembered of units that systemd has read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

TASKS = Path(__file__).resolve().parents[3] / "ansible/roles/appliance/tasks"


@pytest.mark.parametrize("topic", ["units", "serving"])
def test_systemd_reads_its_units_anew_though_nothing_was_written(topic: str) -> None:
    """A run that is cut off after it wrote them leaves the next one nothing to write."""
    tasks: list[dict[str, Any]] = YAML(typ="safe").load((TASKS / f"{topic}.yml").read_text(encoding="utf-8"))
    (systemd,) = [given for task in tasks if (given := task.get("ansible.builtin.systemd_service"))]
    assert systemd["daemon_reload"] is True
