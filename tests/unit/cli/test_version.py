"""appliance.cli.version: release, build and Python, for people and machines."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path

import pytest

from appliance.cli import version
from tests.unit.cli.typed import Egress

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("words", [("version", "--json"), ("--json", "version")])
def test_a_machine_reads_version_build_and_python(egress: Egress, words: tuple[str, ...]) -> None:
    assert json.loads(egress(*words).stdout) == {
        "version": importlib.metadata.version("egress-appliance"),
        "build": "unknown",
        "python": platform.python_version(),
    }


def test_a_person_reads_the_same(egress: Egress) -> None:
    said = egress("version").stdout
    assert said.startswith("egress ")
    assert f"(build unknown, Python {platform.python_version()})" in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{COMMIT}\n".encode(), COMMIT),
        (f"{COMMIT}+changes\n".encode(), f"{COMMIT}+changes"),
        (b"", "unknown"),
        (b"\xff\n", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_build_is_what_stands_in_the_file_and_never_asked_of_git(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    file = tmp_path / "build_id"
    if content is not None:
        file.write_bytes(content)
    assert version.build_id(file) == expected
