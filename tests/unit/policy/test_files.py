"""Files of documents: what may be read, and that what has not changed is not read again."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from appliance.policy.files import Naming, Readings, documents, octets_of, yaml_problem
from appliance.policy.problems import Problem
from appliance.stepwise import finish
from appliance.workload import TENANT_NAME, TENANT_NAME_MEND
from appliance.yamldoc import Document

TENANTS = Naming("tenant name", TENANT_NAME, TENANT_NAME_MEND)


def test_documents_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", ".c.yaml", "d.txt", "Not Good.yaml"):
        (tmp_path / name).write_text("{}")
    problems: list[Problem] = []
    assert [name for name, _ in documents(tmp_path, TENANTS, problems)] == ["a", "b"]
    assert [p.message for p in problems] == ["'Not Good' is no tenant name"]
    assert documents(tmp_path / "absent", TENANTS, problems) == []


@pytest.mark.parametrize("kind", ["fifo", "directory", "absent", "writable"])
def test_what_is_no_file_of_its_owner_alone_is_not_read(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.yaml"
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case "writable":
            file.write_text("{}")
            file.chmod(0o666)
    content = octets_of(file)
    assert content.raw is None
    assert len(content.problems) == 1


def test_the_same_octets_are_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    readings = Readings()
    made: list[object] = []

    def make(document: Document) -> Generator[None, None, tuple[object, list[Problem]]]:
        yield
        made.append(document.data)
        return document.data, []

    for text, also, times in (("a: 1", b"", 1), ("a: 1", b"", 1), ("a: 1", b"x", 2), ("a: 2", b"x", 3)):
        file.write_text(text)
        file.chmod(0o644)
        found, problems = finish(readings.of(file, octets_of(file), also, make))
        readings.turn()
        assert problems == []
        assert found is not None
        assert len(made) == times


def test_a_fault_of_yaml_has_its_place() -> None:
    problem = yaml_problem(Path("/x/a.yaml"), "/x/a.yaml:3:7: found a tab; use spaces")
    assert (problem.position.line, problem.position.column) == (3, 7)
    assert (problem.message, problem.mend) == ("found a tab", "use spaces")
