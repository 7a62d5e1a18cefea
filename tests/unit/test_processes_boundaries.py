"""appliance.processes: SECURITY.md says, of each boundary of the broker, what is assumed and what is left."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.processes import processes
from appliance.settings import Settings

MANUAL = Path(__file__).resolve().parents[2] / "SECURITY.md"
COLUMNS = ["boundary", "assumed", "goes on holding", "what is left"]
BESIDE = {
    "container to gateway", "netd to broker", "broker to database", "the broker's process", "broker to provider",
    "provider to container", "operator's files to broker", "broker to records",
}  # fmt: skip
"""Where something crosses that is no listening socket of the broker's."""


def rows() -> list[list[str]]:
    (_, section) = MANUAL.read_text(encoding="utf-8").split("\n## The broker's boundaries\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "---" not in line]


def test_000_05_each_boundary_says_what_is_assumed_and_what_is_left() -> None:
    head, *found = rows()
    assert [cell.strip(" |") for cell in head] == COLUMNS
    names = [row[0].strip("| ") for row in found]
    assert len(names) == len(set(names))
    assert set(names) >= BESIDE
    for name, row in zip(names, found, strict=True):
        assert len(row) == len(COLUMNS), f"{name}: a cell is missing"
        assert all(len(cell.split()) >= 3 for cell in row[1:]), f"{name}: say it in words"
        assert not re.search(r"\bnothing\b", row[3]), f"{name}: no boundary leaves nothing"


def test_000_05_each_socket_that_the_broker_listens_on_is_a_boundary() -> None:
    (broker,) = [process for process in processes(Settings()) if process.name == "broker"]
    named = {name for row in rows() for name in re.findall(r"`([a-z-]+)`", row[0])}
    assert named >= {listener.name for listener in broker.listeners}


def test_000_05_injected_instructions_are_assumed_to_succeed() -> None:
    (_, section) = MANUAL.read_text(encoding="utf-8").split("\n## The broker's boundaries\n")
    assert "talked into anything" in section.partition("\n|")[0]
