"""`egress integration list|show|add|rm|test`: definitions, accounts, and what the evaluator says of them.

The secret itself is not here: `egress secret` hands it to the broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, pass_cli, printable
from appliance.cli.policies import loaded
from appliance.cli.tenant_files import existing, write_document
from appliance.names import Authority, InvalidName, format_host
from appliance.policy.accounts_text import NotEditable, with_account, without_account
from appliance.policy.explain import explain
from appliance.policy.loader import check_accounts_text, load_catalog
from appliance.policy.store import PolicyStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.policy.bound import CompiledAccount
    from appliance.policy.catalog import Catalog
    from appliance.policy.compile_definition import Definition
    from appliance.policy.problems import Problem
    from appliance.policy.slot import Slot
    from appliance.settings import Settings


@click.group()
def integration() -> None:
    """Integrations: which providers' requests carry a secret, and for which tenants."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """An account that is in force, and who has it."""

    account: CompiledAccount
    tenants: tuple[str, ...]


def _in_force(settings: Settings) -> tuple[dict[str, _Bound], tuple[Problem, ...]]:
    """Accounts as every process would load them now, by name, and what is wrong with the documents."""
    store = PolicyStore(settings)
    found: dict[str, _Bound] = {}
    for tenant, policy in sorted(store.reload().tenants.items()):
        for name, account in policy.bound.accounts.items():
            known = found[name].tenants if name in found else ()
            found[name] = _Bound(account, (*known, tenant))
    return found, store.last_error.problems if store.last_error else ()


@integration.command(name="list")
@pass_cli
def list_(cli: Cli) -> None:
    """List the accounts, and the integrations that there are to add."""
    accounts, faults = _in_force(cli.settings)
    catalog, _ = load_catalog(cli.settings)
    _note(faults)
    definitions = [(name, found) for name in catalog if (found := catalog[name]) is not None]
    if cli.as_json:
        cli.emit(
            {
                "accounts": [_account(accounts[name]) for name in sorted(accounts)],
                "integrations": [_brief(catalog, definition) for _, definition in definitions],
            }
        )
        return
    cli.table(
        ("ACCOUNT", "INTEGRATION", "TENANTS", "SECRET", "HOSTS"),
        [
            (name, bound.account.integration, ", ".join(bound.tenants), bound.account.secret,
             _shortened([str(host) for host in bound.account.hosts]))
            for name, bound in sorted(accounts.items())
        ],
    )  # fmt: skip
    click.echo()
    cli.table(
        ("INTEGRATION", "TITLE", "HOSTS", "FROM"),
        [
            (name, definition.document.title,
             _shortened(list(definition.document.hosts or ("the account's",))),
             "here" if catalog.is_own(name) else "appliance")
            for name, definition in definitions
        ],
    )  # fmt: skip


def _note(faults: tuple[Problem, ...]) -> None:
    for fault in faults:
        click.echo(f"egress: note: {fault}", err=True)


def _shortened(items: list[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _brief(catalog: Catalog, definition: Definition) -> dict[str, Any]:
    document = definition.document
    return {
        "name": document.name,
        "title": document.title,
        "hosts": list(document.hosts or ()),
        "asks_for_host": document.hosts is None,
        "own": catalog.is_own(document.name),
    }


def _account(bound: _Bound) -> dict[str, Any]:
    account = bound.account
    return {
        "name": account.name,
        "integration": account.integration,
        "tenants": list(bound.tenants),
        "secret": account.secret,
        "kinds": sorted(account.kinds),
        "hosts": [str(host) for host in account.hosts],
        "port": account.port,
        "token_hosts": [f"{host}:{port}" for host, port in sorted(account.token_hosts)],
        "base_url": account.base_url,
        "references": account.reference_scheme,
        "groups": [
            {"name": g.name, "risk": g.risk, "scopes": list(g.scopes), "slot": _slot(g.slot)}
            for g in account.groups.values()
        ],
        "rule": account.label,
    }


def _token_hosts(definition: Definition) -> dict[str, Any]:
    """Where its secrets are exchanged, if they are and the definition says so itself."""
    named = definition.document.token_hosts
    return {} if named is None else {"token_hosts": list(map(str, named))}


def _slot(slot: Slot) -> str:
    """Where the secret goes, in a few words."""
    how = f" ({slot.template})" if slot.template else ""
    match slot.style:
        case "bearer":
            return "Authorization: Bearer"
        case "basic":
            return f"Authorization: Basic{how}"
        case "header":
            return f"{slot.name}{how}"
        case "hmac":
            return f"{slot.name}, a signature{how}"
        case "query":
            return f"?{slot.name}="
        case "sigv4":
            return "AWS Signature Version 4"
        case "client-certificate":
            return "TLS client certificate"


@integration.command()
@click.argument("name")
@pass_cli
def show(cli: Cli, name: str) -> None:
    """Show the account NAME, or the integration NAME: hosts, groups, where the secret goes."""
    accounts, faults = _in_force(cli.settings)
    catalog, problems = load_catalog(cli.settings)
    if name in accounts:
        _note(faults)
        facts = _account(accounts[name])
    elif (definition := catalog.get(name)) is not None:
        facts = {
            **definition.document.model_dump(mode="json", exclude_none=True),
            **_token_hosts(definition),
            "own": catalog.is_own(name),
        }
    else:
        own = "\n".join(str(p) for p in problems if p.position.file.endswith(f"/{name}.yaml"))
        known = ", ".join([*sorted(accounts), *catalog])
        raise Failure(
            own or f"no account and no integration {name!r} (known: {known}); see: egress integration list"
        )
    if cli.as_json:
        cli.emit(facts)
        return
    groups = facts.pop("groups")
    for key, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        cli.say(f"{key}: {_dictionary(value) if isinstance(value, dict) else shown}")
    click.echo()
    cli.table(
        ("GROUP", "RISK", "WHAT"),
        [(g["name"], g["risk"], g.get("description") or g.get("slot") or "") for g in groups],
    )


def _dictionary(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items())


@integration.command()
@click.argument("name", metavar="INTEGRATION")
@click.option(
    "--tenant", "tenants", multiple=True, required=True, metavar="NAME", shell_complete=tenant_names,
    help="Who may use it; may be given more than once.",
)  # fmt: skip
@click.option("--name", "account", metavar="NAME", help="Name of the account (default: INTEGRATION-TENANT).")
@click.option("--secret", metavar="NAME", help="Name of the secret in the vault (default: the account's).")
@click.option("--host", metavar="NAME", help="The server, where the integration asks for it.")
@click.option(
    "--token-host", "token_hosts", multiple=True, metavar="NAME[:PORT]",
    help="Where its secret is exchanged for a token, where the integration asks (default: its own server).",
)  # fmt: skip
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Only this group; may be repeated.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the integration; repeated for a list.",
)  # fmt: skip
@pass_cli
def add(
    cli: Cli,
    name: str,
    tenants: tuple[str, ...],
    account: str | None,
    secret: str | None,
    host: str | None,
    token_hosts: tuple[str, ...],
    groups: tuple[str, ...],
    parameters: tuple[str, ...],
) -> None:
    """Bind INTEGRATION to --tenant: its requests to the provider carry the secret from then on.

    For example: egress integration add openai --tenant acme --group chat --group models
    """
    require_root("egress integration add")
    for tenant in tenants:
        existing(cli.settings, tenant)
    written: dict[str, Any] = {
        "name": account or f"{name}-{tenants[0]}", "integration": name, "tenants": list(tenants),
        "secret": secret, "host": host, "token_hosts": _services(token_hosts), "groups": list(groups),
        "parameters": _parameters(parameters),
    }  # fmt: skip
    written = {key: value for key, value in written.items() if value}
    _change(cli.settings, lambda text: with_account(text, written))
    if cli.as_json:
        cli.emit({"account": written["name"], "file": str(cli.settings.accounts_file), **written})
        return
    cli.say(f"account {click.style(written['name'], bold=True)}: {cli.settings.accounts_file}")
    cli.say(
        f"next: egress secret set {written.get('secret', written['name'])} --tenant {tenants[0]} "
        f"--integration {name}"
    )


def _services(given: tuple[str, ...]) -> list[dict[str, str | int]]:
    found: list[dict[str, str | int]] = []
    for item in given:
        try:
            authority = Authority.parse(item, default_port=443)
        except InvalidName as error:
            raise Failure(
                f"--token-host: {error.detail}; write it like login.example.com", exit_code=2
            ) from None
        found.append({"host": format_host(authority.host), "port": authority.port})
    return found


def _parameters(given: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise Failure(
                f"--parameter {item!r} is no NAME=VALUE; write it like region=eu-west-1", exit_code=2
            )
        found.setdefault(key, []).append(value)
    return found


@integration.command()
@click.argument("name")
@pass_cli
def rm(cli: Cli, name: str) -> None:
    """Take the account NAME away; its secret stays in the vault (egress secret rm)."""
    require_root("egress integration rm")
    try:
        _change(cli.settings, lambda text: without_account(text, name))
    except KeyError:
        raise Failure(
            f"no account {name!r} in {cli.settings.accounts_file}; see: egress integration list"
        ) from None
    if cli.as_json:
        cli.emit({"removed": name})
    else:
        cli.say(f"account {name} removed; its secret stays in the vault")


def _change(settings: Settings, edit: Any) -> None:
    """The document with one account more or less, if every process will take it so."""
    file = settings.accounts_file
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        raw = edit(text).encode()
    except NotEditable as error:
        raise Failure(f"{file}: {error}") from None
    problems = check_accounts_text(settings, raw, str(file))
    if problems:
        raise Failure("\n".join(map(str, problems)))
    write_document(file, raw)


@integration.command()
@click.argument("account")
@click.argument("method")
@click.argument("url")
@click.option(
    "--tenant", metavar="NAME", shell_complete=tenant_names, help="Whose (default: the account's first)."
)
@click.option("--content-type", metavar="TYPE", help="Content-Type of the request's body.")
@click.option(
    "--length", type=click.IntRange(min=0), metavar="BYTES", help="Content-Length of the request's body."
)
@pass_cli
def test(
    cli: Cli,
    account: str,
    method: str,
    url: str,
    tenant: str | None,
    content_type: str | None,
    length: int | None,
) -> None:
    """Say whether METHOD URL would be carried by ACCOUNT, by the evaluator itself; nothing is sent.

    Exit code 0: carried, 1: not, 2: the policy cannot be loaded.
    For example: egress integration test openai-acme GET https://api.openai.com/v1/models
    """
    bound = _in_force(cli.settings)[0].get(account)
    if bound is None:
        raise Failure(f"no account {account!r} in force; see: egress integration list", exit_code=2)
    if tenant is not None and tenant not in bound.tenants:
        raise Failure(f"{account} is bound to {', '.join(bound.tenants)}, not to {tenant!r}", exit_code=2)
    whose = tenant or bound.tenants[0]
    found = explain(
        loaded(cli, whose), whose, method, url, content_type=content_type, content_length=length
    )  # the host's verdict names the account, too: only the request's counts
    verdict = found.verdict
    request = next((step for step in found.steps if step.check == "request"), None)
    carried = verdict.allowed and request is not None and request.verdict.account == account
    if cli.as_json:
        cli.emit(
            {
                "account": account, "tenant": whose, "method": method, "url": url, "carried": carried,
                "allowed": verdict.allowed, "group": verdict.group, "reason": str(verdict.reason),
                "rule": verdict.rule, "detail": verdict.detail, "mend": verdict.mend,
                "checks": [{"check": s.check, "holds": s.verdict.allowed, "reason": str(s.verdict.reason)}
                           for s in found.steps],
                "groups": [{"rule": c.rule, "result": c.result} for c in found.consulted
                           if c.stage.startswith("integration")],
            }
        )  # fmt: skip
        raise SystemExit(0 if carried else 1)
    for step in found.steps:
        mark = click.style("ok", fg="green") if step.verdict.allowed else click.style("no", fg="red")
        cli.say(f"{mark}  {step.check}: {step.verdict.reason} ({step.verdict.rule})")
    if carried:
        where = _slot(bound.account.groups[verdict.group or ""].slot)
        cli.say(f"carried by {account}, group {verdict.group}; {bound.account.secret} goes into {where}")
    elif verdict.allowed:
        cli.say(f"allowed, and no secret of {account} goes with it ({verdict.reason})")
    else:
        cli.say(f"refused: {printable(verdict.detail)}")
        cli.say(f"mend: {verdict.mend}")
    raise SystemExit(0 if carried else 1)
