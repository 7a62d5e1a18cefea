"""`egress version`: which release this is, which commit it was built from, and which Python runs it."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import click

from appliance.cli.output import Cli, pass_cli

BUILD_ID = Path(__file__).with_name("build_id")
"""Written into wheel and sdist when they are built (`hatch_build.py`); a checkout has none."""
UNKNOWN = "unknown"


def build_id(file: Path = BUILD_ID) -> str:
    """The commit that was built, with `+changes` where the tree was another; else `unknown`."""
    try:
        return file.read_text(encoding="ascii").strip() or UNKNOWN
    except (OSError, UnicodeDecodeError):
        return UNKNOWN


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@pass_cli
def version(cli: Cli, as_json: bool) -> None:
    """Print version, build and Python."""
    facts = {
        "version": importlib.metadata.version("egress-appliance"),
        "build": build_id(),
        "python": platform.python_version(),
    }
    if as_json or cli.as_json:
        cli.emit(facts)
    else:
        click.echo(f"egress {facts['version']} (build {facts['build']}, Python {facts['python']})")
