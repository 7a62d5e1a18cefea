"""`egress policy check|explain|schema|reload`: the evaluator that enforces, asked on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from appliance import ipc
from appliance.cli.completing import tenant_names
from appliance.cli.failures import Failure, require_root
from appliance.cli.output import Cli, counted, pass_cli, printable
from appliance.cli.replacing import problems_of, problems_there, problems_together
from appliance.cli.status import DOWN, NOT_RUNNING, ask_process
from appliance.cli.tenant_files import existing
from appliance.policy.explain import explain as explain_request
from appliance.policy.loader import check_accounts_text, check_tenant_file, load_catalog
from appliance.policy.problems import Problem, Severity, errors
from appliance.policy.schema import (
    accounts_schema,
    integration_schema,
    named_schema,
    operator_schema,
    tenant_schema,
)
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.processes import processes

_SCHEMAS = {
    "tenant": tenant_schema, "named": named_schema, "operator": operator_schema, "accounts": accounts_schema,
    "integration": integration_schema,
}  # fmt: skip


@click.group()
def policy() -> None:
    """Policies: check a file, explain a verdict, print the schema, reload."""


@policy.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--as", "place", type=click.Path(path_type=Path), metavar="PLACE",
    help="Say what is wrong with FILE at PLACE, and what would be with other documents and is not now.",
)  # fmt: skip
@click.option(
    "--together", is_flag=True,
    help="The same of several documents: each line of FILE is a PLACE and, as a JSON string, its text.",
)  # fmt: skip
@pass_cli
def check(cli: Cli, file: Path | None, place: Path | None, together: bool) -> None:
    """Check FILE, or else all documents, as the gateway would load them: every problem with place and mend.

    FILE is the policy of the tenant that it is named after, or accounts.yaml, or an integration's definition;
    with --as it is whatever document belongs to PLACE, operator.yaml and named policies among them.
    For example: egress policy check /etc/egress/tenants/acme.yaml
    """
    if together and place is not None:
        raise Failure("--together and --as: each line of FILE names its place; leave --as away", exit_code=2)
    if file is None and (together or place is not None):
        raise Failure("--as and --together are about a FILE; name it, or /dev/stdin", exit_code=2)
    if file is not None and not file.exists():
        raise Failure(f"{file}: no such file; name an existing one")
    if file is None:
        problems = problems_there(cli.settings)
    elif together:
        problems = problems_together(cli.settings, file)
    else:
        problems = _problems_of(cli, file) if place is None else problems_of(cli.settings, file, place)
    bad, shown = errors(problems), str(file or cli.settings.config_dir)
    if cli.as_json:
        cli.emit({"file": shown, "ok": not bad, "problems": [_problem(p) for p in problems]})
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        found = f"{counted(len(bad), 'error')}, {counted(len(problems) - len(bad), 'warning')}"
        cli.say(f"{shown}: {found if problems else 'ok'}")
    if bad:
        raise SystemExit(1)


def _problems_of(cli: Cli, file: Path) -> list[Problem]:
    place = file.absolute()
    if place == cli.settings.accounts_file:
        return check_accounts_text(cli.settings, file.read_bytes(), str(file))
    if place.parent == cli.settings.integrations_dir:
        return [p for p in load_catalog(cli.settings)[1] if p.position.file == str(place)]
    return check_tenant_file(cli.settings, file, Severity.WARNING)


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.position.file,
        "line": problem.position.line,
        "column": problem.position.column,
        "severity": str(problem.severity),
        "message": problem.message,
        "mend": problem.mend,
    }


@policy.command()
@click.option(
    "--tenant", required=True, metavar="NAME", shell_complete=tenant_names, help="Whose policy is asked."
)
@click.argument("method")
@click.argument("url")
@pass_cli
def explain(cli: Cli, tenant: str, method: str, url: str) -> None:
    """Say what would happen to METHOD URL from a container of --tenant, and by which rule.

    Exit code 0: allowed, 1: refused, 2: the policy cannot be loaded.
    For example: egress policy explain --tenant acme GET https://pypi.example.org/simple/
    """
    explanation = explain_request(loaded(cli, tenant), tenant, method, url)
    verdict = explanation.verdict
    if cli.as_json:
        cli.emit(
            {
                "tenant": tenant, "method": method, "url": url, "allowed": verdict.allowed,
                "reason": str(verdict.reason), "rule": verdict.rule, "detail": verdict.detail,
                "mend": verdict.mend, "account": verdict.account, "group": verdict.group,
                "checks": [{"check": s.check, "allowed": s.verdict.allowed, "reason": str(s.verdict.reason),
                            "rule": s.verdict.rule} for s in explanation.steps],
            }
        )  # fmt: skip
    else:
        for step in explanation.steps:
            mark = _word(step.verdict.allowed, "ok", "no")
            cli.say(f"{mark}  {step.check}: {step.verdict.reason} ({step.verdict.rule})")
        cli.say(f"{_word(verdict.allowed, 'allowed', 'refused')}: {printable(verdict.detail)}")
        if verdict.account is not None:
            cli.say(f"account: {verdict.account}, group {verdict.group}")
        if not verdict.allowed and verdict.mend:
            cli.say(f"mend: {verdict.mend}")
    raise SystemExit(0 if verdict.allowed else 1)


def _word(good: bool, yes: str, no: str) -> str:
    return click.style(yes, fg="green") if good else click.style(no, fg="red")


def loaded(cli: Cli, tenant: str) -> PolicySet:
    """The policies as the gateway would load them now; other tenants' faults are notes."""
    file = existing(cli.settings, tenant)
    store = PolicyStore(cli.settings)
    policies = store.reload()
    faults = store.last_error.problems if store.last_error else ()
    if tenant not in policies.tenants:
        own = [p for p in faults if p.position.file == str(file)] or faults
        raise Failure("\n".join(map(str, own)) or f"{file}: could not be loaded; check it", exit_code=2)
    for fault in faults:
        click.echo(f"egress: note, not of {tenant}: {fault}", err=True)
    return policies


@policy.command()
@click.argument("document", type=click.Choice(sorted(_SCHEMAS)), default="tenant")
def schema(document: str) -> None:
    """Print the JSON Schema of tenant documents, or of the other kinds."""
    click.echo(json.dumps(_SCHEMAS[document](), indent=2))


@policy.command()
@pass_cli
def reload(cli: Cli) -> None:
    """Make every process read the policies now (they also do so on their own when a file changes)."""
    require_root("egress policy reload")
    answers = {p.name: ask_process(cli.settings, p.name, {"op": "reload"}) for p in processes(cli.settings)}
    failed = {name: answer for name, answer in answers.items() if not answer.get("ok")}
    if failed and all(answer.get("error") == NOT_RUNNING for answer in answers.values()):
        raise Failure(DOWN)
    if failed:
        raise Failure("\n".join(_unread(name, answer) for name, answer in failed.items()))
    if cli.as_json:
        cli.emit(answers)
    else:
        cli.say(f"{len(answers)} processes read the policies")


def _unread(name: str, answer: ipc.Message) -> str:
    if answer.get("error") == NOT_RUNNING:
        return f"{name}: {DOWN}"
    return f"{name}: {answer.get('detail') or answer.get('error')}; it keeps the last good policy"
