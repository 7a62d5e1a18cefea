"""How the command line speaks: tables for people, one JSON document for machines, plain lines for errors.

Nothing is markup: what users, tenants and containers wrote is printed as it stands.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class Cli:
    """What every command gets: the instance's settings, where they came from, and whether a machine reads."""

    settings: Settings
    settings_file: Path | None
    as_json: bool

    def emit(self, document: Any) -> None:
        """Print `document` as JSON on standard output."""
        click.echo(json.dumps(document, indent=2, default=str))

    def say(self, text: str) -> None:
        """One line of progress or result for people, on standard error when a machine reads the output."""
        click.echo(text, err=self.as_json)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A plain table, columns aligned; cells may be coloured by `click.style`."""
        every = [tuple(click.style(column, bold=True) for column in columns), *rows]
        widths = [max(len(click.unstyle(row[i])) for row in every) for i in range(len(columns))]
        for row in every:
            cells = (
                cell + " " * (width - len(click.unstyle(cell)))
                for cell, width in zip(row, widths, strict=True)
            )
            click.echo("  ".join(cells).rstrip())

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[None]:
        """Show that something which may take over a second is going on."""
        if self.as_json or sys.stderr is None or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console  # noqa: PLC0415 - 30 ms that only who looks on has time for

        with Console(stderr=True).status(what):
            yield


def counted(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Names in records are their callers' words; none of them may steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(value: Any) -> Any:
    """A document with every text in it `printable`: a process that was taken over says what it likes."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): harmless(entry) for key, entry in value.items()}
    return [harmless(entry) for entry in value] if isinstance(value, list) else value


pass_cli = click.make_pass_decorator(Cli)
