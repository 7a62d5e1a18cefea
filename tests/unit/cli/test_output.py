"""What is printed is what was said: no markup, no terminal codes of others."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from appliance.cli.output import Cli, counted, printable
from appliance.settings import Settings


def test_brackets_of_users_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Cli(Settings(), None, as_json=False).say("rules[0] [/x] [red]")
    assert capsys.readouterr().out == "rules[0] [/x] [red]\n"


def test_text_keeps_out_of_a_machines_output(capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(Settings(), Path("x"), as_json=True)
    cli.say("progress")
    cli.emit({"a": Path("/b")})
    printed = capsys.readouterr()
    assert printed.err == "progress\n"
    assert printed.out == '{\n  "a": "/b"\n}\n'


def test_columns_are_aligned_whatever_their_colour(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", click.style("up", fg="green"), "x"), ("longer", "down", "y")]
    Cli(Settings(), None, as_json=False).table(("NAME", "STATE", "F"), rows)
    lines = [click.unstyle(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["NAME    STATE  F", "a       up     x", "longer  down   y"]


def test_without_standard_error_work_goes_on_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)  # as Python leaves it where the descriptor is closed
    with Cli(Settings(), None, as_json=False).progress("working"):
        pass


def test_one_and_many() -> None:
    assert [counted(n, "error") for n in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]


def test_no_name_steers_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"
