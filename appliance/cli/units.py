"""`egress units`: what a host with systemd needs to run the appliance."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.failures import Failure
from appliance.cli.output import Cli, pass_cli
from appliance.settings import CREDENTIALS
from appliance.units.render import HEADING, File, Installed, credentials_of_broker, files
from appliance.units.sandbox import LEFT_ON_NETD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from appliance.settings import Settings

HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - named to be refused
"""What the units' processes do not see (ProtectHome=, PrivateTmp=)."""
CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
TRIED_WITHIN = 30.0  # seconds


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files below this directory (/etc on a host) instead of printing them.",
)
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    help="The interpreter that units name, e.g. behind a link that an upgrade replaces (default: this one).",
)
@click.option(
    "--plain-credential",
    is_flag=True,
    help="The vault's passphrase is in /etc/credstore, not encrypted in /etc/credstore.encrypted.",
)
@click.option("--reasons", is_flag=True, help="Print what is not taken from netd, and why, and nothing else.")
@pass_cli
def units(cli: Cli, out: Path | None, python: Path | None, plain_credential: bool, reasons: bool) -> None:
    """Print units, users and Docker's order for systemd, made from the table of processes.

    Written with --out /etc they want: systemd-sysusers, systemctl daemon-reload, systemctl enable --now
    of the instance's target.
    """
    if reasons:
        cli.emit(dict(LEFT_ON_NETD)) if cli.as_json else cli.table(
            ("LEFT ON NETD", "WHY"), list(LEFT_ON_NETD.items())
        )
        return
    file = cli.settings_file.absolute() if cli.settings_file is not None else None
    installed = Installed(python or Path(sys.executable), file, plain_credential)
    settings = cli.settings
    seen(needed(settings, installed))
    given(settings)
    if python is not None:
        has_the_program(python)
    wanted = files(settings, installed)
    if out is None:
        document = {str(file.path): file.text for file in wanted}
        text = "\n".join(f"# {path}\n{content}" for path, content in document.items())
        cli.emit(document) if cli.as_json else click.echo(text, nl=False)
        return
    free(out, wanted)
    changed = [str(file.path) for file in wanted if write(out, file)]
    if cli.as_json:
        cli.emit({"written": changed})
    else:
        click.echo("\n".join(changed) or "all are there already")


def needed(settings: Settings, installed: Installed) -> list[Path]:
    """What the units' processes read or write, as they name it."""
    named = (installed.settings_file, settings.vault.passphrase_file, settings.vault.key_file)
    own = installed.python == Path(sys.executable)
    return [
        installed.python, installed.python.parent, *map(Path, (sys.prefix, sys.base_prefix) if own else ()),
        settings.config_dir, settings.state_dir, settings.run_dir, settings.log_dir,
        *(file for file in named if file is not None),
    ]  # fmt: skip


def seen(paths: Iterable[Path]) -> None:
    """Raise `Failure` where a unit's processes would not see what they need."""
    for path in paths:
        for hidden in HIDDEN:
            if path.is_relative_to(hidden) or path.resolve().is_relative_to(hidden):
                raise Failure(
                    f"{path}: units do not see what is below {hidden}; "
                    "install below /opt, and keep settings and data below /etc and /var"
                )


def given(settings: Settings) -> None:
    """Raise `Failure` where the vault's passphrase is to come from systemd and would not."""
    file, place = settings.vault.passphrase_file, credentials_of_broker(settings)
    if file is None or not file.is_relative_to(CREDENTIALS):
        return
    if file.parent != place or not CREDENTIAL_NAME.fullmatch(file.name):
        raise Failure(
            f"vault.passphrase_file {file}: systemd gives the broker its credentials in {place}; write "
            f"{place}/NAME, where NAME is up to 64 of A-Z, a-z, 0-9, '_', '.' and '-'"
        )


def has_the_program(python: Path) -> None:
    """Raise `Failure` where `python` cannot run the program, by an absolute path."""
    if not python.is_absolute():
        raise Failure(f"--python {python}: units want an absolute path, e.g. /opt/egress/current/bin/python")
    command = [str(python), "-I", "-c", "import appliance.settings, netns.launch"]
    try:
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, timeout=TRIED_WITHIN, check=False
        )
        told = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        told = str(error)
    else:
        if done.returncode == 0:
            return
    raise Failure(f"--python {python} does not run egress-appliance: {told}; install it there first")


def free(out: Path, wanted: Iterable[File]) -> None:
    """Raise `Failure` where somebody else has a unit of the same name below `out`."""
    units_wanted = (out / file.path for file in wanted if file.text.startswith(HEADING))
    for place in units_wanted:
        if place.is_file() and not place.read_text(encoding="utf-8", errors="replace").startswith(HEADING):
            raise Failure(f"{place} is not of `egress units`: give it another name, then run this again")


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
