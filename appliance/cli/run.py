"""`egress run` and `egress shell`: a container with every hardening flag, on its tenant's network."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from appliance import docker_host
from appliance.audit.read import Selection, records
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure
from appliance.cli.output import Cli, counted, pass_cli, printable
from appliance.cli.tenant_files import existing, workspace
from appliance.workload import RUN_LABEL, WORKLOAD_ID

if TYPE_CHECKING:
    from appliance.settings import Settings

OWN_IMAGES = "egress/"
DEFAULT_IMAGE = f"{OWN_IMAGES}runner-python"
SUMMARY_LINES = 12
TMP = "/tmp"  # noqa: S108 - a path inside the container, on a tmpfs of its own

BOUNDED_LOG = ("--log-opt", "max-size=10m", "--log-opt", "max-file=2")
"""What an engine keeps of one job's output: the audit log may lie on the same disk."""


def log_flags(engine_default: str) -> list[str]:
    """How the job's output is kept: as the operator's engine does it, if that is admitted, but bounded."""
    if engine_default in {"journald", "none"}:  # has bounds of its own, takes none of these
        return []
    driver = [] if engine_default in {"json-file", "local"} else ["--log-driver", "local"]
    return [*driver, *BOUNDED_LOG]


def hardened(tenant: str, network: str, run: str, limits: dict[str, str]) -> list[str]:
    """The `docker run` flags that the admission plugin demands, in Docker's own words."""
    user = f"{WORKLOAD_ID}:{WORKLOAD_ID}"
    return [
        "--network", network, "--user", user, "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--read-only", "--tmpfs", f"{TMP}:rw,nosuid,nodev,size={limits['tmp']},mode=1777",
        "--tmpfs", f"/home/runner:rw,nosuid,nodev,size={limits['tmp']},uid={WORKLOAD_ID},gid={WORKLOAD_ID}",
        "--pids-limit", limits["pids"], "--memory", limits["memory"], "--memory-swap", limits["memory"],
        "--cpus", limits["cpus"], "--label", f"{RUN_LABEL}={run}", "--label", f"egress.tenant={tenant}",
    ]  # fmt: skip


_OPTIONS = [
    click.option(
        "--tenant", required=True, metavar="NAME", shell_complete=tenant_names,
        help="Whose policy, network and directory.",
    ),
    click.option(
        "--image", default=DEFAULT_IMAGE, show_default=True, metavar="IMAGE",
        help="Image of the container; egress/… are built by: make images",
    ),
    click.option(
        "--memory", default="1g", show_default=True, metavar="SIZE", help="Most memory; there is no swap."
    ),
    click.option("--cpus", default="1", show_default=True, metavar="N", help="Most processors."),
    click.option(
        "--pids", default="256", show_default=True, metavar="N", help="Most processes and threads."
    ),
    click.option(
        "--tmp", default="256m", show_default=True, metavar="SIZE",
        help="Size of /tmp and of the home directory.",
    ),
    click.option(
        "-e", "--env", multiple=True, metavar="NAME[=VALUE]",
        help="A variable for the job; without a value, the caller's.",
    ),
    click.option("--read-only-workspace", is_flag=True, help="Mount the tenant's workspace read-only."),
]  # fmt: skip


def _with_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(context_settings={"ignore_unknown_options": True})
@_with_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_cli
def run(cli: Cli, /, command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND in a hardened container of a tenant; its exit code becomes ours.

    At the end a summary says what was refused and why (--json: one document, on standard error, because
    standard output is the job's). Everything after -- belongs to the command.

    For example: egress run --tenant acme -- python3 job.py
    """
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    _run(cli, list(command), [*(["-i", "-t"] if terminal else ["-i"])], **options)


@click.command()
@_with_options
@pass_cli
def shell(cli: Cli, /, **options: Any) -> None:
    """Open a shell in a hardened container of a tenant.

    For example: egress shell --tenant acme
    """
    _run(cli, ["/bin/bash"], ["-i", "-t"] if sys.stdin.isatty() else ["-i"], **options)


def _run(
    cli: Cli, command: list[str], terminal: list[str], *, tenant: str, image: str, memory: str, cpus: str,
    pids: str, tmp: str, env: tuple[str, ...], read_only_workspace: bool,
) -> None:  # fmt: skip
    settings = cli.settings
    existing(settings, tenant)
    network = network_of(settings, tenant)
    require_image(settings, image)
    number = f"run-{secrets.token_hex(8)}"
    mount = f"type=bind,src={workspace(settings, tenant)},dst=/workspace" + (
        ",readonly" if read_only_workspace else ""
    )
    flags = hardened(tenant, network, number, {"memory": memory, "cpus": cpus, "pids": pids, "tmp": tmp})
    flags += log_flags(docker_host.log_driver(settings))
    environment = [part for name in env for part in ("--env", name)]
    arguments = [
        "docker", "-H", f"unix://{settings.docker.socket}", "run", "--rm", *terminal, *flags,
        "--mount", mount, "--workdir", "/workspace", *environment, image, *command,
    ]  # fmt: skip
    try:
        code = subprocess.run(arguments, check=False).returncode
    except FileNotFoundError as error:
        raise Failure("the docker command is not installed; apt-get install docker.io") from error
    except KeyboardInterrupt:
        code = 130
    _summary(cli, number, code)
    raise SystemExit(code)


def network_of(settings: Settings, tenant: str) -> str:
    """The tenant's Docker network. Raises `Failure`."""
    mine = [n.name for n in docker_host.networks(settings) if n.tenant == tenant]
    if not mine:
        raise Failure(
            f"tenant {tenant!r} has no Docker network; make it with: "
            f"docker network create -d {settings.instance} --opt tenant={tenant} {tenant}"
        )
    return mine[0]


def require_image(settings: Settings, image: str) -> None:
    """Ours are built here and pulled from nowhere, so Docker's own advice would lead astray."""
    if image.startswith(OWN_IMAGES) and not docker_host.has_image(settings, image):
        raise Failure(f"image {image} is not here; build it: make images")


def _summary(cli: Cli, number: str, code: int) -> None:
    try:
        found = list(records(cli.settings.audit_dir, Selection(run=number)))
    except PermissionError:
        return  # Only root reads audit records; the job's own result stands.
    refused = [r for r in found if r.get("outcome") != "allowed"]
    allowed = sum(r.get("kind") == "request" and r.get("outcome") == "allowed" for r in found)
    if cli.as_json:
        click.echo(_json_line(number, code, allowed, refused), err=True)
        return
    if os.environ.get("EGRESS_QUIET"):
        return
    kinds: Counter[tuple[str, str, str]] = Counter()
    for r in refused:
        kinds[_what(r), str(r.get("reason", "")), str(r.get("detail", ""))] += _times(r)
    click.echo(
        f"egress: {number} ended with {code}; {counted(allowed, 'request')} allowed, {kinds.total()} refused",
        err=True,
    )
    for (what, reason, detail), count in kinds.most_common(SUMMARY_LINES):
        click.echo(printable(f"egress:   {count} x {what}: {reason} ({detail})"), err=True)
    if len(kinds) > SUMMARY_LINES:
        click.echo(f"egress:   and {len(kinds) - SUMMARY_LINES} more kinds; egress log --denied", err=True)


def _what(record: dict[str, Any]) -> str:
    method = record.get("method") or record.get("kind", "")
    host = record.get("host") or record.get("name") or record.get("destination") or ""
    return f"{method} {host}{record.get('path') or ''}".strip()


def _times(record: dict[str, Any]) -> int:
    """How many refusals a record stands for."""
    count = record.get("count")
    return count if isinstance(count, int) else 1


def _json_line(number: str, code: int, allowed: int, refused: list[dict[str, Any]]) -> str:
    return json.dumps({"run": number, "exit_code": code, "allowed": allowed, "refused": refused}, default=str)
