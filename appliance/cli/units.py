"""`egress units`: what a host with systemd needs to run the appliance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.failures import Failure
from appliance.cli.output import Cli, pass_cli
from appliance.units.render import File, Installed, files

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - named to be refused
"""What the units' processes do not see (ProtectHome=, PrivateTmp=)."""


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files below this directory (/etc on a host) instead of printing them.",
)
@pass_cli
def units(cli: Cli, out: Path | None) -> None:
    """Print units, users and Docker's order for systemd, made from the table of processes.

    Written with --out /etc they want: systemd-sysusers, systemctl daemon-reload, systemctl enable --now
    of the instance's target.
    """
    file = cli.settings_file.absolute() if cli.settings_file is not None else None
    installed = Installed(Path(sys.executable), file)
    settings = cli.settings
    seen(
        [installed.python, Path(sys.prefix), Path(sys.base_prefix), *([file] if file else []),
         settings.config_dir, settings.state_dir, settings.run_dir, settings.log_dir]
    )  # fmt: skip
    wanted = files(settings, installed)
    if out is None:
        document = {str(file.path): file.text for file in wanted}
        text = "\n".join(f"# {path}\n{content}" for path, content in document.items())
        cli.emit(document) if cli.as_json else click.echo(text, nl=False)
        return
    changed = [str(file.path) for file in wanted if write(out, file)]
    if cli.as_json:
        cli.emit({"written": changed})
    else:
        click.echo("\n".join(changed) or "all are there already")


def seen(paths: Iterable[Path]) -> None:
    """Raise `Failure` where a unit's processes would not see what they need."""
    for path in paths:
        for hidden in HIDDEN:
            if path.is_relative_to(hidden) or path.resolve().is_relative_to(hidden):
                raise Failure(
                    f"{path}: units do not see what is below {hidden}; "
                    "install below /opt, and keep settings and data below /etc and /var"
                )


def write(out: Path, file: File) -> bool:
    """Write `file` below `out` in one step; whether it was not there as it is."""
    place = out / file.path
    if place.is_file() and place.read_text(encoding="utf-8", errors="replace") == file.text:
        return False
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.new")
    beside.write_text(file.text, encoding="utf-8")
    beside.chmod(0o644)
    beside.replace(place)
    return True
