"""`egress secret set|list|rotate|rm`, `egress vault status|unlock|lock|passphrase|rekey`: what is kept.

A secret comes from a variable, a file, standard input or a prompt without echo, never from the command line:
every user of the host could read it there, and the shell remembers it. What was typed there is not repeated.
"""

from __future__ import annotations

import base64
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance import ipc
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, counted, pass_cli
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process
from appliance.cli.tenant_files import existing

BROKER = "broker"
MAX_VALUE = 32 * 1024
ON_THE_COMMAND_LINE = (
    "a secret on the command line can be read by every user of this host and stays in the shell's history;"
    " pipe it in, or use --from-env or --from-file, and replace the one that you typed"
)
KINDS = (
    "static",
    "basic",
    "oauth2-refresh",
    "oauth2-client-credentials",
    "aws",
    "gcp-service-account",
    "github-app",
    "hmac",
    "client-certificate",
)

_F = TypeVar("_F", bound=Any)


@click.group()
def secret() -> None:
    """Secrets of integrations: the broker keeps them encrypted and uses them, no container sees them."""


@click.group()
def vault() -> None:
    """The vault: whether it is open, and what opens it."""


def _typed(command: _F) -> _F:
    """Whatever else is typed may be the secret: it is taken, to be refused without being repeated."""
    decorated: _F = click.argument("typed", nargs=-1, metavar="", type=click.UNPROCESSED)(command)
    return decorated


def _which(command: _F) -> _F:
    """NAME with its tenant and integration."""
    for decorate in (
        click.option(
            "--integration",
            required=True,
            metavar="NAME",
            help="The integration it is for, as in its account.",
        ),
        click.option(
            "--tenant", required=True, metavar="NAME", shell_complete=tenant_names, help="Whose it is."
        ),
        _typed,
        click.argument("name"),
    ):
        command = decorate(command)
    return command


def _whence(command: _F) -> _F:
    """Where the value comes from."""
    for decorate in (
        click.option("--value", hidden=True, help="Refused: see --from-env and --from-file."),
        click.option("--from-file", metavar="FILE", help="Take it from this file."),
        click.option("--from-env", metavar="VARIABLE", help="Take it from this environment variable."),
        click.option(
            "--kind",
            default="static",
            show_default=True,
            help=f"One of {', '.join(KINDS)}; all but static are JSON documents.",
        ),
    ):
        command = decorate(command)
    return command


@secret.command(name="set")
@_which
@_whence
@click.option(
    "--if-changed",
    is_flag=True,
    help="Store nothing where the newest version is that already; a refresh token, which the broker renews, "
    "does not count.",
)
@pass_cli
def set_(
    cli: Cli,
    name: str,
    typed: tuple[str, ...],
    tenant: str,
    integration: str,
    kind: str,
    from_env: str | None,
    from_file: str | None,
    value: str | None,
    if_changed: bool,
) -> None:
    """Store secret NAME, or a further version of it; from a pipe, a prompt, --from-env or --from-file.

    NAME is what the account says, or else the account's own name.
    For example: pass show openai | egress secret set openai-acme --tenant acme --integration openai
    """
    _not_typed(typed, value)
    require_root("egress secret set")
    existing(cli.settings, tenant)
    octets = _read(kind, from_env, from_file)
    message = _about(name, tenant, integration) | {"kind": kind, "value": base64.b64encode(octets).decode()}
    _told_version(cli, message | {"op": "secret-set"} | ({"unless_same": True} if if_changed else {}))


@secret.command()
@_which
@_whence
@click.option(
    "--keep",
    type=click.IntRange(0, 100),
    default=1,
    show_default=True,
    help="How many old versions stay, for calls that use them; 0 after a theft.",
)
@pass_cli
def rotate(
    cli: Cli,
    name: str,
    typed: tuple[str, ...],
    tenant: str,
    integration: str,
    kind: str,
    from_env: str | None,
    from_file: str | None,
    value: str | None,
    keep: int,
) -> None:
    """Store a new version of secret NAME and drop old ones."""
    _not_typed(typed, value)
    require_root("egress secret rotate")
    octets = _read(kind, from_env, from_file)
    message = _about(name, tenant, integration) | {"kind": kind, "value": base64.b64encode(octets).decode()}
    _told_version(cli, message | {"op": "secret-rotate", "keep": keep})


@secret.command(name="list")
@click.option("--tenant", metavar="NAME", shell_complete=tenant_names, help="Only this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@pass_cli
def list_(cli: Cli, tenant: str | None, as_json: bool) -> None:
    """List secrets: whose they are, their names, kinds and versions, never their values."""
    require_root("egress secret list")
    found = _ask(cli, {"op": "secret-list", "tenant": tenant})["secrets"]
    if as_json or cli.as_json:
        replace(cli, as_json=True).emit(found)
        return
    cli.table(
        ("TENANT", "INTEGRATION", "NAME", "KIND", "VERSION", "KEPT", "SET"),
        [
            (s["tenant"], s["integration"], s["name"], s["kind"], str(s["version"]),
             ", ".join(map(str, s["versions"])), s["created"])
            for s in found
        ],
    )  # fmt: skip


@secret.command()
@_which
@click.option("--version", type=click.IntRange(1, 2**31 - 1), help="Only this version.")
@pass_cli
def rm(
    cli: Cli, name: str, typed: tuple[str, ...], tenant: str, integration: str, version: int | None
) -> None:
    """Remove secret NAME, or one version of it."""
    if typed:
        raise Failure("name one secret; see: egress secret rm --help", exit_code=2)
    require_root("egress secret rm")
    message = _about(name, tenant, integration) | {"op": "secret-remove", "version": version}
    answer = _ask(cli, message)
    if cli.as_json:
        cli.emit(answer)
    else:
        cli.say(f"{_named(message)}: {counted(answer['removed'], 'version')} removed")


@vault.command()
@pass_cli
def status(cli: Cli) -> None:
    """Say whether the vault is open; exit code 3 when it is not."""
    require_root("egress vault status")
    answer = _ask(cli, {"op": "vault-status"})
    if cli.as_json:
        cli.emit(answer)
    else:
        cli.say(_described(answer))
    if answer["state"] != "open":
        raise SystemExit(3)


@vault.command()
@click.option("--from-file", metavar="FILE", help="Take the passphrase from the first line of this file.")
@_typed
@pass_cli
def unlock(cli: Cli, typed: tuple[str, ...], from_file: str | None) -> None:
    """Open the vault with its passphrase (from a prompt, a pipe or --from-file), or choose the first one."""
    _not_typed(typed, None)
    require_root("egress vault unlock")
    state = _ask(cli, {"op": "vault-status"})
    if state["state"] != "open":
        new = state["state"] == "new"
        passphrase = _passphrase(from_file, new=new)
        state = _ask(cli, {"op": "vault-unlock", "passphrase": passphrase, "new": new})
    if cli.as_json:
        cli.emit(state)
    else:
        cli.say(_described(state))


@vault.command()
@pass_cli
def lock(cli: Cli) -> None:
    """Close the vault: calls under way end, and none is made until it is unlocked."""
    require_root("egress vault lock")
    state = _ask(cli, {"op": "vault-lock"})
    if cli.as_json:
        cli.emit(state)
        return
    cli.say("the vault is locked")
    if cli.settings.vault.unlock != "passphrase":
        cli.say("the next start of the appliance opens it again: sudo egress up")


@vault.command()
@click.option("--from-file", metavar="FILE", help="Take the new one from the first line of this file.")
@_typed
@pass_cli
def passphrase(cli: Cli, typed: tuple[str, ...], from_file: str | None) -> None:
    """Choose another passphrase for the open vault; the one before then opens nothing."""
    _not_typed(typed, None)
    require_root("egress vault passphrase")
    answer = _ask(cli, {"op": "vault-change", "passphrase": _passphrase(from_file, new=True)})
    if cli.as_json:
        cli.emit(answer)
        return
    cli.say(f"the vault has a new passphrase; {counted(answer['rewrapped'], 'data key')} wrapped anew")
    if cli.settings.vault.unlock == "key_file":
        cli.say("its key file opens it no longer: set vault.unlock to passphrase before the next start")


@vault.command()
@pass_cli
def rekey(cli: Cli) -> None:
    """Make a new key file for the open vault; the one before then opens nothing. Back up the new one."""
    require_root("egress vault rekey")
    answer = _ask(cli, {"op": "vault-change"})
    if cli.as_json:
        cli.emit(answer)
    else:
        file = cli.settings.vault_key_file
        cli.say(f"{file} is new: {counted(answer['rewrapped'], 'data key')} wrapped anew; back it up")


def _described(answer: ipc.Message) -> str:
    match answer["state"]:
        case "open":
            held = counted(answer["secrets"], "secret")
            return f"{click.style('open', fg='green')}: by its {answer['source']}, {held}"
        case "new":
            return f"{click.style('new', fg='yellow')}: no passphrase yet; choose one: egress vault unlock"
        case _:
            return f"{click.style('locked', fg='red')}: unlock it: egress vault unlock"


def _about(name: str, tenant: str, integration: str) -> ipc.Message:
    return {"name": name, "tenant": tenant, "integration": integration}


def _told_version(cli: Cli, message: ipc.Message) -> None:
    answer = _ask(cli, message)
    if cli.as_json:
        cli.emit(answer)
    else:
        as_it_was = "" if answer.get("changed", True) else ", as it was"
        cli.say(f"{_named(message)}: version {answer['version']}{as_it_was}")


def _named(message: ipc.Message) -> str:
    return f"{message['integration']}/{message['name']} of tenant {message['tenant']}"


def _ask(cli: Cli, message: ipc.Message) -> ipc.Message:
    """What the broker answers, without `ok`. Raises `Failure` for a refusal."""
    answer = ask_process(cli.settings, BROKER, message)
    if answer.get("ok"):
        return {key: value for key, value in answer.items() if key != "ok"}
    if answer.get("error") == NOT_RUNNING:
        raise Failure(f"{BROKER}: {DOWN}")
    raise Failure(f"{answer.get('error')}: {answer.get('detail')}")


def _not_typed(typed: tuple[str, ...], value: str | None) -> None:
    if typed or value is not None:
        raise Failure(ON_THE_COMMAND_LINE, exit_code=2)


def _read(kind: str, from_env: str | None, from_file: str | None) -> bytes:
    """The secret's octets, from the one place that was named. Raises `Failure` that repeats nothing typed."""
    if from_env is not None and from_file is not None:
        raise Failure("--from-env and --from-file name two secrets; give one of them", exit_code=2)
    if from_env is not None:
        found = os.environb.get(os.fsencode(from_env))
        if found is None:
            raise Failure("there is no such environment variable; give its name without `$`, and export it")
        octets = found
    elif from_file is not None:
        octets = _file(from_file)
    elif sys.stdin.isatty():
        if kind != "static":
            raise Failure(f"a secret of kind {kind} is a JSON document; pipe it in or use --from-file")
        octets = os.fsencode(click.prompt("Secret", hide_input=True, err=True))
    else:
        octets = sys.stdin.buffer.read(MAX_VALUE + 1)
    if not octets.strip():
        raise Failure("the secret is empty; see that what should write it does")
    if len(octets) > MAX_VALUE:
        raise Failure(f"more than {MAX_VALUE // 1024} KiB are no secret; name the right file")
    return octets


def _passphrase(from_file: str | None, *, new: bool) -> str:
    """One line. Raises `Failure`."""
    if from_file is not None:
        line = _file(from_file)
    elif sys.stdin.isatty():
        said = "New passphrase of the vault" if new else "Passphrase of the vault"
        return str(click.prompt(said, hide_input=True, confirmation_prompt=new, err=True))
    else:
        line = sys.stdin.buffer.read(MAX_VALUE)
    try:
        text = line.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise Failure("the passphrase is not UTF-8 text; save it as UTF-8") from None
    if not text:
        raise Failure("the passphrase is empty; see that what should write it does")
    return text


def _file(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_VALUE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise Failure(f"--from-file: {reason}; give the path of a readable file") from None
