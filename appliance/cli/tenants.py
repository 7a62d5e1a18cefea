"""`egress tenant add|list|show|rm`: a policy document, a directory and a Docker network each."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import docker.errors

from appliance import docker_host
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root, told
from appliance.cli.output import Cli, pass_cli
from appliance.cli.tenant_files import existing, workspace, write_document
from appliance.policy.loader import check_tenant_text
from appliance.workload import TENANT_NAME, TENANT_NAME_MEND, WORKLOAD_ID
from appliance.yamldoc import MAX_BYTES

if TYPE_CHECKING:
    from appliance.settings import Settings

_DOCUMENT = """# Policy of tenant {name}. Check a change with: egress policy check {file}
# Rules and their fields: egress policy schema
profile: {profile}
"""


@click.group()
def tenant() -> None:
    """Tenants: who may run containers, each with a network, a policy and a directory of its own."""


@tenant.command()
@click.argument("name")
@click.option(
    "--profile",
    type=click.Choice(["read-only-web", "allowlist"]),
    default="read-only-web",
    show_default=True,
    help="What the tenant may do where no rule says more.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Start with this policy document instead.",
)
@click.option("--network/--no-network", "with_network", default=True, help="Make the Docker network, too.")
@click.option(
    "--if-missing", is_flag=True, help="Make what is missing of a tenant that exists; its policy stays."
)
@pass_cli
def add(cli: Cli, name: str, profile: str, policy: Path | None, with_network: bool, if_missing: bool) -> None:
    """Add tenant NAME: policy document, directory, Docker network of the same name.

    NAME is up to 32 of a-z, 0-9 and '-', a letter first and no '-' last. For example: egress tenant add acme
    """
    require_root("egress tenant add")
    settings = cli.settings
    if not TENANT_NAME.fullmatch(name):
        raise Failure(f"{name!r} is no tenant name; {TENANT_NAME_MEND}", exit_code=2)
    file = settings.tenants_dir / f"{name}.yaml"
    new = not file.exists()
    if not (new or if_missing):
        raise Failure(
            f"tenant {name!r} exists ({file}); edit that file, or remove it: egress tenant rm {name}"
        )
    raw = _DOCUMENT.format(name=name, file=file, profile=profile).encode()
    if policy is not None:
        with policy.open("rb") as source:
            raw = source.read(MAX_BYTES + 1)  # one more is refused as too large
    problems = check_tenant_text(settings, raw, str(policy or file), name) if new else []
    if problems:
        raise Failure("\n".join(map(str, problems)))
    home = workspace(settings, name)
    network = _network(settings, name) if with_network and not new else None
    make_network = with_network and network is None
    changed = new or make_network or not home.exists()
    with contextlib.ExitStack() as undo:  # runs unless everything is in place
        _make_directory(settings.tenants_dir, undo)
        _make_directory(home, undo)
        # The host's users have no way in: what a container leaves there may be setuid. Docker is root.
        home.parent.chmod(0o700)
        os.chown(home, WORKLOAD_ID, WORKLOAD_ID)
        if new:
            undo.callback(file.unlink, missing_ok=True)
            write_document(file, raw)
        if make_network:
            with cli.progress("making the network"):
                _make_network(settings, name)
        undo.pop_all()
    if cli.as_json:
        cli.emit(
            {
                "tenant": name,
                "policy": str(file),
                "workspace": str(home),
                "network": name if make_network else network,
                "changed": changed,
            }
        )
    else:
        cli.say(f"tenant {click.style(name, bold=True)}: policy {file}, workspace {home}")
        cli.say(f"next: egress run --tenant {name} -- curl -sI https://example.com")


def _make_directory(folder: Path, undo: contextlib.ExitStack) -> None:
    """Make `folder` with its parents; `undo` removes those that we made."""
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    if absent:
        undo.callback(shutil.rmtree, absent[-1], ignore_errors=True)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def _network(settings: Settings, name: str) -> str | None:
    """The name of the tenant's first network, None where it has none."""
    return next((network.name for network in docker_host.networks(settings) if network.tenant == name), None)


def _make_network(settings: Settings, name: str) -> None:
    try:
        with docker_host.client(settings) as engine:
            engine.networks.create(
                name, driver=settings.instance, options={"tenant": name}, check_duplicate=True
            )
    except docker.errors.APIError as error:
        detail = str(error.explanation or error)
        mend = "is the appliance up? (egress up)" if "not found" in detail else "mend that, then add it again"
        raise Failure(f"Docker network {name!r} could not be made: {detail}; {mend}") from error


@tenant.command(name="list")
@pass_cli
def list_(cli: Cli) -> None:
    """List tenants with their networks and running containers."""
    names = sorted(f.stem for f in cli.settings.tenants_dir.glob("*.yaml"))
    networks = known_networks(cli.settings)
    rows = [describe(cli.settings, name, networks) for name in names]
    if cli.as_json:
        cli.emit(rows)
    else:
        cli.table(
            ("TENANT", "NETWORKS", "SUBNETS", "CONTAINERS"),
            [
                (r["tenant"], ", ".join(r["networks"]), ", ".join(r["subnets"]), str(len(r["containers"])))
                for r in rows
            ],
        )


@tenant.command()
@click.argument("name", shell_complete=tenant_names)
@pass_cli
def show(cli: Cli, name: str) -> None:
    """Show tenant NAME: files, networks, containers, policy text."""
    file = existing(cli.settings, name)
    facts = describe(cli.settings, name, known_networks(cli.settings))
    document = file.read_text(encoding="utf-8")
    if cli.as_json:
        cli.emit({**facts, "document": document})
        return
    for key, value in facts.items():
        cli.say(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    click.echo()
    click.echo(document, nl=False)


@tenant.command()
@click.argument("name", shell_complete=tenant_names)
@click.option("--purge", is_flag=True, help="Delete the tenant's workspace too.")
@pass_cli
def rm(cli: Cli, name: str, purge: bool) -> None:
    """Remove tenant NAME: its Docker network and policy; its workspace only with --purge."""
    require_root("egress tenant rm")
    settings = cli.settings
    file = existing(settings, name)
    mine = [n for n in docker_host.networks(settings) if n.tenant == name]
    busy = [c for n in mine for c in n.containers]
    if busy:
        raise Failure(
            f"tenant {name!r} has running containers: {', '.join(busy)}; stop them first (docker stop …)"
        )
    with cli.progress("removing the network"), docker_host.client(settings) as engine:
        for network in mine:
            engine.api.remove_network(network.id)
    file.unlink()
    home = settings.state_dir / "tenants" / name
    if purge and home.exists():
        shutil.rmtree(home)
    if cli.as_json:
        cli.emit({"removed": name, "purged": purge})
    else:
        cli.say(f"tenant {name} removed" + ("" if purge else f"; its files stay in {home}"))


def known_networks(settings: Settings) -> list[docker_host.ApplianceNetwork]:
    """The instance's networks; none, and a note on standard error, when Docker cannot be asked."""
    try:
        return docker_host.networks(settings)
    except (docker_host.DockerUnavailable, PermissionError) as error:
        click.echo(f"egress: networks and containers are not known: {told(error).message}", err=True)
        return []


def describe(settings: Settings, name: str, networks: list[docker_host.ApplianceNetwork]) -> dict[str, Any]:
    """Facts on a tenant, its networks being those of `networks` that are its own."""
    mine = [n for n in networks if n.tenant == name]
    return {
        "tenant": name,
        "policy": str(settings.tenants_dir / f"{name}.yaml"),
        "workspace": str(workspace(settings, name)),
        "networks": [n.name for n in mine],
        "subnets": [n.subnet for n in mine],
        "containers": [c for n in mine for c in n.containers],
    }
