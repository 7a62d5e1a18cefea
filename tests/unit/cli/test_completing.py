"""The shell offers the tenants that there are, and never fails in the middle of a line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import click.shell_completion
import pytest

from appliance.cli.main import cli


def offered(settings_file: Path, *words: str, typed: str = "") -> list[str]:
    complete = click.shell_completion.ShellComplete(cli, {}, "egress", "_EGRESS_COMPLETE")
    return [i.value for i in complete.get_completions(["--settings", str(settings_file), *words], typed)]


@pytest.mark.parametrize(
    "words",
    [
        ("tenant", "show"), ("tenant", "rm"), ("run", "--tenant"), ("shell", "--tenant"), ("log", "--tenant"),
        ("policy", "explain", "--tenant"),
    ],
)  # fmt: skip
def test_tenants_are_offered(
    settings_file: Path, tenant: Callable[[str], Path], words: tuple[str, ...]
) -> None:
    tenant("acme")
    tenant("globex")
    assert offered(settings_file, *words) == ["acme", "globex"]
    assert offered(settings_file, *words, typed="g") == ["globex"]


def test_kinds_of_records_are_offered(settings_file: Path) -> None:
    assert offered(settings_file, "log", "--kind", typed="l") == ["lifecycle"]
    assert "--since" in offered(settings_file, "log", typed="--s")


def test_nothing_is_offered_without_settings(tmp_path: Path) -> None:
    assert offered(tmp_path / "absent.yaml", "tenant", "show") == []
    assert str(tmp_path) not in os.environ.get("EGRESS_SETTINGS", "")
