"""Documents → compiled layers, with every problem found on the way.

What a document's shape cannot say is checked on the way. Here: literal addresses where an exception covers
them, caps below their ceilings, policies that are used and exist. What concerns one rule: `compile_rule`.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from pathlib import PurePath
from typing import TypeVar

from pydantic import BaseModel

from appliance.names import HostName, parse_host
from appliance.policy.caps import DEFAULT_CEILINGS, Caps, format_size
from appliance.policy.compile_limits import OperatorLimits, compile_limits, compile_operator_limits
from appliance.policy.compile_rule import Entry, Origin, compiling_rules
from appliance.policy.documents import (
    CapsDocument,
    NamedPolicyDocument,
    OperatorDocument,
    PassthroughDocument,
    TenantDocument,
)
from appliance.policy.hosts import is_special_use
from appliance.policy.limits import TenantLimits
from appliance.policy.problems import Problem, errors
from appliance.policy.ranges import NETWORKS_IN_A_STEP, Ranges
from appliance.policy.reading import Rules, reading
from appliance.policy.redundancy import Placed, redundant
from appliance.policy.rules import AllowRule, RuleIndex
from appliance.policy.tenant import PrivateException, Profile
from appliance.stepwise import finish, letting_go
from appliance.yamldoc import Document, Path_

_Model = TypeVar("_Model", bound=BaseModel)

HOSTS_IN_A_STEP = 100

_CAP_FIELDS = {
    "uri": "uri_bytes",
    "headers": "header_bytes",
    "request_body": "request_body_bytes",
    "response_body": "response_body_bytes",
}


@dataclass(frozen=True, slots=True)
class OperatorLayer:
    """operator.yaml, compiled; `exceptions` are (tenant, exception)."""

    entries: tuple[Entry, ...] = ()
    ceilings: Caps = DEFAULT_CEILINGS
    exceptions: tuple[tuple[str, PrivateException], ...] = ()
    passthrough: tuple[tuple[PassthroughDocument, str], ...] = ()
    limits: OperatorLimits = field(default_factory=OperatorLimits)
    denied_addresses: Ranges = field(default_factory=Ranges)

    def exceptions_of(self, tenant: str) -> tuple[PrivateException, ...]:
        """The private ranges that `tenant` may reach."""
        return tuple(exception for owner, exception in self.exceptions if owner == tenant)

    def passthrough_of(self, tenant: str) -> dict[tuple[str, int], str]:
        """(host, port) → label of the passthrough, for `tenant`."""
        return {
            (host, port): label
            for item, label in self.passthrough
            if item.tenants is None or tenant in item.tenants
            for host in item.hosts
            for port in item.ports
        }


@dataclass(frozen=True, slots=True)
class TenantLayer:
    """One tenant's document with the named policies it uses, compiled."""

    profile: Profile
    caps: Caps
    rules: RuleIndex
    limits: TenantLimits

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every rule with the hosts that it speaks of."""
        return tuple(self.rules.entries())


def compile_operator(
    document: Document, own_networks: Iterable[IPv4Network] = ()
) -> tuple[OperatorLayer | None, list[Problem]]:
    """The operator's layer, or None when the document has errors.

    `own_networks` are the appliance's links: no exception may reach them.
    """
    return finish(compiling_operator(document, own_networks))


def compiling_operator(
    document: Document, own_networks: Iterable[IPv4Network] = ()
) -> Generator[None, None, tuple[OperatorLayer | None, list[Problem]]]:
    """The same in steps."""
    if document.data == {}:
        return OperatorLayer(), []  # said in so many words: no rules but the defaults
    model, rules, problems = yield from _reading(document, OperatorDocument)
    if model is None:
        return None, problems
    file = PurePath(document.file).name
    placed: list[Placed] = []
    for key in ("allow", "deny"):
        found, faults = yield from compiling_rules(document, (key,), rules.get(key, ()), Origin.OPERATOR)
        placed += found
        problems += faults
    problems += yield from redundant(placed)
    ceilings, faults = _caps(document, model.caps, DEFAULT_CEILINGS, None)
    problems += faults
    exceptions: list[tuple[str, PrivateException]] = []
    own = tuple(own_networks)
    for index, item in enumerate(model.exceptions or ()):
        place: Path_ = ("exceptions", index)
        network = IPv4Network(item.cidr)
        label = f"{file}:{document.at(place).line} exceptions[{index}]"
        name = HostName.parse(item.name) if item.name else None
        if reached := next((n for n in own if n.overlaps(network)), None):
            problems.append(
                Problem(
                    document.at((*place, "cidr")),
                    f"{network} reaches the appliance's own link {reached}",
                    "write a narrower range",
                )
            )
        entry = (item.tenant, PrivateException(network, item.port, name, label))
        if any(_same_exception(entry, other) for other in exceptions):
            problems.append(Problem(document.at(place), "this exception is listed twice", "write it once"))
        exceptions.append(entry)
    passthrough = tuple(
        (item, f"{file}:{document.at(('passthrough', index)).line} passthrough[{index}]")
        for index, item in enumerate(model.passthrough or ())
    )
    limits, faults = compile_operator_limits(document, model.limits)
    problems += faults
    networks = []
    for number, text in enumerate(model.deny_addresses or ()):
        networks.append(IPv4Network(text))
        if (number + 1) % NETWORKS_IN_A_STEP == 0:
            yield
    addresses = yield from Ranges.making(networks)
    layer = OperatorLayer(
        tuple(_entries(placed)), ceilings, tuple(exceptions), passthrough, limits, addresses
    )
    yield from letting_go(placed)
    for written in rules.values():
        yield from letting_go(written)
    return (None if errors(problems) else layer), problems


def compile_named(document: Document) -> tuple[tuple[Entry, ...] | None, list[Problem]]:
    """The rules of a named policy, or None when the document has errors."""
    return finish(compiling_named(document))


def compiling_named(
    document: Document,
) -> Generator[None, None, tuple[tuple[Entry, ...] | None, list[Problem]]]:
    """The same in steps."""
    model, rules, problems = yield from _reading(document, NamedPolicyDocument)
    if model is None:
        return None, problems
    placed, faults = yield from compiling_rules(document, ("rules",), rules["rules"], Origin.NAMED)
    problems += faults
    problems += yield from redundant(placed)
    entries = tuple(_entries(placed))
    yield from letting_go(placed)
    yield from letting_go(rules["rules"])
    return (None if errors(problems) else entries), problems


def compile_tenant(
    document: Document, tenant: str, operator: OperatorLayer, named: Mapping[str, tuple[Entry, ...] | None]
) -> tuple[TenantLayer | None, list[Problem]]:
    """The tenant's layer, or None when its document, or a policy that it uses, has errors."""
    return finish(compiling_tenant(document, tenant, operator, named))


def compiling_tenant(
    document: Document, tenant: str, operator: OperatorLayer, named: Mapping[str, tuple[Entry, ...] | None]
) -> Generator[None, None, tuple[TenantLayer | None, list[Problem]]]:
    """The same in steps."""
    model, rules, problems = yield from _reading(document, TenantDocument)
    if model is None:
        return None, problems
    caps, faults = _caps(document, model.caps, Caps(), operator.ceilings)
    problems += faults
    limits, faults = compile_limits(document, model.limits, tenant, operator.limits)
    problems += faults
    placed, faults = yield from compiling_rules(
        document, ("rules",), rules.get("rules", ()), Origin.TENANT, caps
    )
    problems += faults
    problems += yield from redundant(placed)
    problems += yield from _unreachable_hosts(placed, tenant, operator)
    used: list[Entry] = []
    for index, name in enumerate(model.use or ()):
        entries = named.get(name)
        if entries is None:
            problems.append(_unusable(document, ("use", index), name, named))
        else:
            used += entries
    layer = None
    if not errors(problems):
        made = yield from RuleIndex.making(chain(_entries(placed), used))
        layer = TenantLayer(Profile(model.profile), caps, made, limits)
    yield from letting_go(placed)
    yield from letting_go(rules.get("rules", []))
    return layer, problems


def _reading(
    document: Document, model: type[_Model]
) -> Generator[None, None, tuple[_Model | None, Rules, list[Problem]]]:
    if document.data is None or document.data == {}:
        # A file cut off by a full disk must not turn an allowlist into the default profile.
        known = ", ".join(model.model_fields)
        return (
            None,
            {},
            [
                Problem(
                    document.at(()), "the document is empty", f"write some of: {known}; or remove the file"
                )
            ],
        )
    return (yield from reading(document, model))


def _entries(placed: Iterable[Placed]) -> Iterator[Entry]:
    return ((item.pattern, item.rule) for item in placed)


def _caps(
    document: Document, written: CapsDocument, default: Caps, ceilings: Caps | None
) -> tuple[Caps, list[Problem]]:
    values = {cap.name: getattr(default, cap.name) for cap in fields(Caps)}
    problems = []
    for key, name in _CAP_FIELDS.items():
        size = getattr(written, key)
        if size is not None:
            values[name] = size
        ceiling = getattr(ceilings, name) if ceilings else values[name]
        if values[name] > ceiling:
            if size is not None:
                problems.append(
                    Problem(
                        document.at(("caps", key)),
                        f"caps.{key}: {format_size(size)} is above the operator's ceiling",
                        f"write {format_size(ceiling)} or less",
                    )
                )
            values[name] = ceiling  # the defaults bow to the operator too
    return Caps(**values), problems


def _same_exception(one: tuple[str, PrivateException], other: tuple[str, PrivateException]) -> bool:
    (tenant, a), (other_tenant, b) = one, other
    return (tenant, a.network, a.port, a.name) == (other_tenant, b.network, b.port, b.name)


def _unreachable_hosts(
    placed: Sequence[Placed], tenant: str, operator: OperatorLayer
) -> Generator[None, None, list[Problem]]:
    """A tenant's allow rules for hosts that only the operator can open."""
    exceptions = operator.exceptions_of(tenant)
    problems = []
    for number, item in enumerate(placed):
        if isinstance(item.rule, AllowRule):
            problems.append(_unreachable_host(item, exceptions, operator))
        if (number + 1) % HOSTS_IN_A_STEP == 0:
            yield
    return [problem for problem in problems if problem is not None]


def _unreachable_host(
    item: Placed, exceptions: tuple[PrivateException, ...], operator: OperatorLayer
) -> Problem | None:
    pattern = item.pattern
    host = parse_host(pattern.name)
    if isinstance(host, HostName):
        special = is_special_use(HostName(f"x.{host}") if pattern.below else host)
        if not special or any(exception.name == host for exception in exceptions):
            return None
        opened = any(p.covers(pattern) for p, rule in operator.entries if isinstance(rule, AllowRule))
        return (
            None
            if opened
            else _needs_operator(item, f"{pattern} is no name of the public DNS", "an allow rule")
        )
    if isinstance(host, IPv4Address) and any(host in exception.network for exception in exceptions):
        return None
    return _needs_operator(item, f"{pattern} is an address", "an exception for it")


def _needs_operator(item: Placed, message: str, what: str) -> Problem:
    return Problem(item.position, message, f"write a public name, or {what} in operator.yaml")


def _unusable(
    document: Document, place: Path_, name: str, named: Mapping[str, tuple[Entry, ...] | None]
) -> Problem:
    if name in named:
        return Problem(document.at(place), f"policy {name!r} has errors", f"mend policies/{name}.yaml")
    close = difflib.get_close_matches(name, named, n=1)
    known = ", ".join(sorted(named)) or "none"
    mend = f"did you mean {close[0]!r}?" if close else f"write policies/{name}.yaml, or use one of: {known}"
    return Problem(document.at(place), f"there is no policy {name!r}", mend)
