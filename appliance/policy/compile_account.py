"""Integration accounts → rules of the tenants that they are bound to, and what is wrong with them.

A group becomes one rule for each of its hosts. Where a secret goes is never left to chance: two accounts of a
tenant that would allow the same request are an error, and so is a host whose TLS the operator lets through
unread. State is changed at exact hosts alone: for a wildcard, the account says which.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import PurePath

from pydantic import ValidationError

from appliance.faults import faults
from appliance.names import HostName, parse_host
from appliance.policy.accounts import AccountDocument, AccountsDocument
from appliance.policy.bound import Bound, CompiledAccount, CompiledGroup
from appliance.policy.compile import OperatorLayer
from appliance.policy.compile_definition import Definition, group_rule
from appliance.policy.definition import GroupDocument, filled, host_pattern, parameters_of
from appliance.policy.hosts import HostPattern, same_registrant
from appliance.policy.methods import STATE_CHANGING
from appliance.policy.problems import Problem, errors
from appliance.policy.redundancy import overlap
from appliance.policy.rules import AllowRule
from appliance.policy.token_hosts import token_hosts_of
from appliance.stepwise import finish
from appliance.yamldoc import Document, Path_

MAX_ACCOUNTS_A_TENANT = 64  # each is compared with each
MAX_EXPANDED = 256  # hosts of an account, paths of a group: what lists of parameters multiply to

Definitions = Mapping[str, Definition | None]
"""By name; None: there is one, and it has errors."""


@dataclass(frozen=True, slots=True)
class AccountsLayer:
    """accounts.yaml, compiled: what each tenant has, and the digest of what its accounts were made of."""

    tenants: Mapping[str, Bound] = field(default_factory=dict)
    digest: bytes = b""

    def of(self, tenant: str) -> Bound:
        """The tenant's accounts."""
        return self.tenants.get(tenant) or Bound()


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule of an account, where it belongs."""

    pattern: HostPattern
    group: str
    rule: AllowRule


@dataclass(frozen=True, slots=True)
class _Made:
    """An account with its rules and its place in the document."""

    index: int
    written: AccountDocument
    account: CompiledAccount
    rules: tuple[_Rule, ...]


def compile_accounts(
    document: Document, definitions: Definitions, operator: OperatorLayer, digest: bytes = b""
) -> tuple[AccountsLayer | None, list[Problem]]:
    """The accounts of all tenants, or None when the document has errors. `digest`: of the document."""
    return finish(compiling_accounts(document, definitions, operator, digest))


def compiling_accounts(
    document: Document, definitions: Definitions, operator: OperatorLayer, digest: bytes = b""
) -> Generator[None, None, tuple[AccountsLayer | None, list[Problem]]]:
    """The same in steps."""
    if document.data == {}:
        return AccountsLayer(digest=digest), []  # said in so many words: no accounts
    if not isinstance(document.data, dict):
        mend = "write accounts: […], or {} to have none"
        return None, [Problem(document.at(()), "the document is empty", mend)]
    try:
        model = AccountsDocument.model_validate(document.data)
    except ValidationError as error:
        found = faults(error, document, AccountsDocument)
        return None, [Problem(fault.position, fault.message, fault.mend) for fault in found]
    problems: list[Problem] = []
    made: list[_Made] = []
    names: dict[str, int] = {}
    for index, written in enumerate(model.accounts or ()):
        place: Path_ = ("accounts", index)
        if written.name in names:
            message = f"account name {written.name!r} is taken by accounts[{names[written.name]}]"
            problems.append(Problem(document.at((*place, "name")), message, "give each account its own"))
        names.setdefault(written.name, index)
        definition = definitions.get(written.integration)
        if definition is None:
            problems.append(_unknown(document, place, written.integration, definitions))
            continue
        yield
        one, found_here = _account(document, index, written, definition)
        problems += found_here
        if one is not None:
            made.append(one)
            problems += _unread(document, one, operator)
    by_tenant: dict[str, list[_Made]] = {}
    for one in made:
        for tenant in one.written.tenants:
            by_tenant.setdefault(tenant, []).append(one)
    for tenant, theirs in by_tenant.items():
        problems += yield from _conflicts(document, tenant, theirs)
    if errors(problems):
        return None, problems
    tenants: dict[str, Bound] = {}
    for tenant, theirs in by_tenant.items():
        yield
        entries = ((item.pattern, item.rule) for one in theirs for item in one.rules)
        tenants[tenant] = Bound.of((one.account for one in theirs), entries)
    used = sorted({one.account.integration for one in made})
    parts = [digest, *(kept.digest for name in used if (kept := definitions.get(name)) is not None)]
    return AccountsLayer(tenants, sha256(b"".join(parts)).digest()), problems


def _account(
    document: Document, index: int, written: AccountDocument, definition: Definition
) -> tuple[_Made | None, list[Problem]]:
    place: Path_ = ("accounts", index)
    model = definition.document
    values, problems = _values(document, place, written, definition)
    hosts, faults_of_hosts = _hosts(document, place, written, definition, values)
    token_hosts, faults_of_token_hosts = token_hosts_of(document, place, written, model, hosts)
    problems += faults_of_hosts + faults_of_token_hosts
    if errors(problems):
        return None, problems  # what groups would make of it is no news
    file = PurePath(document.file).name
    label = f"{file}:{document.at(place).line} accounts[{index}] {written.name!r}"
    known = {group.name: group for group in model.groups}
    for number, name in enumerate(written.groups or ()):
        if name not in known:
            message = f"{model.name} has no group {name!r}"
            mend = _close(name, known, f"write some of: {', '.join(known)}")
            problems.append(Problem(document.at((*place, "groups", number)), message, mend))
    rules: list[_Rule] = []
    groups: dict[str, CompiledGroup] = {}
    for group in model.groups:
        if written.groups is not None and group.name not in written.groups:
            continue
        paths = _expanded(group.paths, values)
        patterns = [p for text in (group.hosts or hosts) for p in hosts.get(text, ())]
        if not paths or not patterns:
            if written.groups is not None:
                message = f"group {group.name!r} has nothing without its parameters"
                mend = f"write parameters: {{{_missing(group, definition, values)}: …}}"
                problems.append(Problem(document.at((*place, "groups")), message, mend))
            continue
        if len(paths) > MAX_EXPANDED or len(patterns) > MAX_EXPANDED:
            message = f"parameters make more than {MAX_EXPANDED} hosts or paths of group {group.name!r}"
            problems.append(Problem(document.at(place), message, "write several accounts"))
            continue
        problems += _inexact(document, place, group, patterns)
        rule = group_rule(model, group, paths, f"{label} group {group.name!r}", written.name)
        rules += [_Rule(pattern, group.name, rule) for pattern in patterns]
        groups[group.name] = CompiledGroup(
            name=group.name,
            slot=model.slot_of(group),
            risk=group.risk,
            scopes=group.scopes or (),
            body=definition.bodies.get(group.name),
        )
    if not groups and not errors(problems):
        problems.append(Problem(document.at(place), "no group is left", "write parameters, or other groups"))
    if errors(problems):
        return None, problems
    patterns = list(dict.fromkeys(item.pattern for item in rules))
    first = next((p for found in hosts.values() for p in found), None)
    base = first.name if model.base_url is not None and first in patterns and first is not None else None
    account = CompiledAccount(
        name=written.name,
        integration=model.name,
        title=model.title,
        secret=written.secret or written.name,
        kinds=frozenset(model.secrets),
        hosts=tuple(patterns),
        port=model.port,
        groups=groups,
        label=label,
        base_url=None if base is None else model.base_url,
        base_host=base,
        reference_scheme=model.reference_scheme if model.references else None,
        streamed=frozenset(model.answers.stream or ()),
        token_hosts=token_hosts,
    )
    return _Made(index, written, account, tuple(rules)), problems


def _values(
    document: Document, place: Path_, written: AccountDocument, definition: Definition
) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Parameters with their values; one that is optional and left out is not among them."""
    described = definition.document.parameters or {}
    given = written.parameters or {}
    problems = []
    for name in given:
        if name not in described:
            mend = _close(name, described, f"write some of: {', '.join(described) or 'none'}")
            message = f"{definition.name} has no parameter {name!r}"
            problems.append(Problem(document.at((*place, "parameters", name)), message, mend))
    values: dict[str, tuple[str, ...]] = {}
    for name, parameter in described.items():
        found = given.get(name, parameter.default)
        if barred := {value.lower() for value in found or ()}.intersection(parameter.never or ()):
            message = f"parameter {name!r} of {definition.name} is never {min(barred)!r}"
            problems.append(Problem(document.at((*place, "parameters", name)), message, "leave it out"))
        if found is not None:
            values[name] = found
        elif not parameter.optional:
            message = f"parameter {name!r} of {definition.name} is missing"
            mend = f"write parameters: {{{name}: …}} ({parameter.description})"
            problems.append(Problem(document.at(place), message, mend))
    return values, problems


def _expanded(texts: Iterable[str], values: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The texts with every combination of their parameters; none for one without a value."""
    found: dict[str, None] = {}
    for text in texts:
        names = parameters_of(text)
        if any(name not in values for name in names):
            continue
        for chosen in product(*(values[name] for name in names)):
            found[filled(text, dict(zip(names, chosen, strict=True)))] = None
            if len(found) > MAX_EXPANDED:
                return tuple(found)
    return tuple(found)


def _hosts(
    document: Document,
    place: Path_,
    written: AccountDocument,
    definition: Definition,
    values: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, tuple[HostPattern, ...]], list[Problem]]:
    """The definition's hosts as written there, each with what it stands for in this account."""
    model = definition.document
    where = document.at((*place, "host"))
    if model.hosts is None:
        if written.host is None:
            mend = "write host: the name of the server"
            return {}, [Problem(where, f"{model.name} asks for the host", mend)]
        if not isinstance(parse_host(written.host), HostName):
            return {}, [Problem(where, f"{written.host} is an address", "write the server's name")]
        return {"ask": (HostPattern(written.host),)}, []
    found: dict[str, tuple[HostPattern, ...]] = {}
    problems = []
    for text in model.hosts:
        try:
            found[text] = tuple(_one_label(text, filled) for filled in _expanded((text,), values))
        except ValueError as error:
            message, _, mend = str(error).partition("; ")
            return {}, [Problem(document.at((*place, "parameters")), message, mend)]
    if written.host is not None:
        narrowed = False
        for text, patterns in found.items():
            if any(_stands_for(pattern, written.host) for pattern in patterns):
                found[text] = (HostPattern(written.host),)
                narrowed = True
        if not narrowed:
            message = f"{written.host} is below no wildcard of {model.name}"
            wild = ", ".join(text for text in model.hosts if text.startswith("*."))
            mend = f"write a name below {wild}" if wild else "leave host out: the definition names its hosts"
            problems.append(Problem(where, message, mend))
    return found, problems


def _one_label(written: str, text: str) -> HostPattern:
    if text.count(".") != written.count("."):
        raise ValueError(f"{text!r} has more labels than {written}; a parameter in a host has no dot")
    return host_pattern(text)


def _stands_for(pattern: HostPattern, host: str) -> bool:
    return pattern.covers(HostPattern(host)) and pattern.below and same_registrant(host, pattern.name)


def _missing(group: GroupDocument, definition: Definition, values: Mapping[str, object]) -> str:
    texts = (*group.paths, *(group.hosts or definition.document.hosts or ()))
    return next((name for text in texts for name in parameters_of(text) if name not in values), "name")


def _inexact(
    document: Document, place: Path_, group: GroupDocument, patterns: Sequence[HostPattern]
) -> Iterator[Problem]:
    changing = STATE_CHANGING.intersection(group.methods)
    what = ", ".join(sorted(changing)) or ("a WebSocket" if group.upgrade else "")
    wild = next((pattern for pattern in patterns if pattern.below), None)
    if what and wild is not None:
        message = f"group {group.name!r} allows {what}, and {wild} is no exact host"
        mend = f"write host: <name>.{wild.name}, or groups that only read"
        yield Problem(document.at(place), message, mend)


def _unread(document: Document, one: _Made, operator: OperatorLayer) -> Iterator[Problem]:
    """Hosts whose TLS nobody reads: no secret could be put in, and none kept out."""
    for tenant in one.written.tenants:
        for (host, port), label in operator.passthrough_of(tenant).items():
            if one.account.covers(host, port):
                message = f"{label} lets TLS to {host} through unread for tenant {tenant}"
                mend = "remove that passthrough in operator.yaml, or this account"
                yield Problem(document.at(("accounts", one.index)), message, mend)


def _conflicts(
    document: Document, tenant: str, theirs: Sequence[_Made]
) -> Generator[None, None, list[Problem]]:
    """Accounts of one tenant that would allow the same request, or are the same in base-URL mode."""
    if len(theirs) > MAX_ACCOUNTS_A_TENANT:
        place = document.at(("accounts", theirs[MAX_ACCOUNTS_A_TENANT].index))
        message = f"tenant {tenant} has more than {MAX_ACCOUNTS_A_TENANT} accounts"
        return [Problem(place, message, "bind fewer: one account takes many buckets, services or groups")]
    problems: list[Problem] = []
    for number, one in enumerate(theirs):
        for other in theirs[:number]:
            problems += _conflict(document, tenant, one, other)
            yield
    return problems


def _conflict(document: Document, tenant: str, one: _Made, other: _Made) -> Iterator[Problem]:
    place = document.at(("accounts", one.index))
    names = f"{one.written.name!r} and {other.written.name!r}"
    if clash := _clash(one, other):
        mine, its = clash
        message = (
            f"for tenant {tenant}, {one.written.name!r} (group {mine.group}) and "
            f"{other.written.name!r} (group {its.group}) allow the same requests to {mine.pattern}"
        )
        yield Problem(place, message, "restrict one of them by groups, or bind it to other tenants")
    elif _same_prefix(one.account, other.account):
        message = (
            f"for tenant {tenant}, {names} are both /{one.account.base_url}/… of base-URL mode, "
            "for different hosts"
        )
        yield Problem(place, message, "bind one of them to other tenants")


def _clash(one: _Made, other: _Made) -> tuple[_Rule, _Rule] | None:
    if not any(_meet(a, b) for a in one.account.hosts for b in other.account.hosts):
        return None
    for mine in one.rules:
        for its in other.rules:
            if _meet(mine.pattern, its.pattern) and overlap(mine.rule, its.rule):
                return mine, its
    return None


def _meet(one: HostPattern, other: HostPattern) -> bool:
    return one.covers(other) or other.covers(one)


def _same_prefix(one: CompiledAccount, other: CompiledAccount) -> bool:
    return one.base_url is not None and one.base_url == other.base_url and one.base_host != other.base_host


def _unknown(document: Document, place: Path_, name: str, definitions: Definitions) -> Problem:
    where = document.at((*place, "integration"))
    if name in definitions:
        return Problem(where, f"integration {name!r} has errors", f"mend integrations/{name}.yaml")
    mend = _close(name, definitions, f"use one of: {', '.join(sorted(definitions))}")
    return Problem(where, f"there is no integration {name!r}", mend)


def _close(name: str, known: Iterable[str], otherwise: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise
