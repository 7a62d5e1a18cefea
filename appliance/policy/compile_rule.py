"""One written rule → one compiled rule; where the narrow defaults of a left-out item are filled in.

What a rule's shape cannot say is checked here: wildcards that are public-suffix safe, state-changing methods
for exact hosts alone, items that go together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

from appliance.policy.caps import MAX_SIZE, Caps, format_size
from appliance.policy.documents import OperatorRule, Rule
from appliance.policy.hosts import HostPattern, anybodys, is_anybodys
from appliance.policy.methods import READING, STATE_CHANGING
from appliance.policy.paths import ANY_PATH, DenyPaths, PathPattern, deny_paths
from appliance.policy.problems import Problem, Severity
from appliance.policy.redundancy import Placed
from appliance.policy.rules import AllowRule, DenyRule, Service, allowed, denied
from appliance.policy.verdict import Reason
from appliance.stepwise import finish
from appliance.yamldoc import Document, Path_, Position

Entry = tuple[HostPattern, AllowRule | DenyRule]
Written = Rule | OperatorRule
HOSTS_IN_A_STEP = 20
_Item = TypeVar("_Item")

_DEFAULT_PORT = {"https": 443, "http": 80}


class Origin(Enum):
    """Whose rule it is: the reason that stands in its verdicts depends on it."""

    OPERATOR = "operator"
    NAMED = "named"
    TENANT = "tenant"


class _Shared:
    """Equal parts of rules as one object.

    Measured with 100,000 rules: 210 MB instead of 338, and a verdict for a rule that was not asked about
    lately in 6.3 µs instead of 7.5, because fewer places of memory are looked at.
    """

    def __init__(self) -> None:
        self._sets: dict[frozenset[Any], frozenset[Any]] = {}
        self._paths: dict[tuple[str, ...], tuple[PathPattern, ...]] = {}
        self._patterns: dict[str, PathPattern] = {}
        self._denied: dict[tuple[PathPattern, ...], DenyPaths] = {}

    def set(self, items: Iterable[_Item]) -> frozenset[_Item]:
        made = frozenset(items)
        return self._sets.setdefault(made, made)

    def paths(self, texts: tuple[str, ...]) -> tuple[PathPattern, ...]:
        found = self._paths.get(texts)
        if found is None:
            found = self._paths[texts] = tuple(map(self._pattern, texts))
        return found

    def deny_paths(self, patterns: tuple[PathPattern, ...]) -> DenyPaths:
        found = self._denied.get(patterns)
        if found is None:
            found = self._denied[patterns] = deny_paths(patterns)
        return found

    def _pattern(self, text: str) -> PathPattern:
        found = self._patterns.get(text)
        if found is None:
            found = self._patterns[text] = PathPattern.parse(text)
        return found


def compile_rules(
    document: Document, key: Path_, rules: Sequence[Written], origin: Origin, caps: Caps | None = None
) -> tuple[list[Placed], list[Problem]]:
    """Every rule of the list at `key`, once for each of its hosts, and what is wrong with them."""
    return finish(compiling_rules(document, key, rules, origin, caps))


def compiling_rules(
    document: Document, key: Path_, rules: Iterable[Written], origin: Origin, caps: Caps | None = None
) -> Generator[None, None, tuple[list[Placed], list[Problem]]]:
    """The same in steps."""
    placed: list[Placed] = []
    problems: list[Problem] = []
    names: dict[str, int] = {}
    shared = _Shared()
    for index, rule in enumerate(rules):
        place = (*key, index)
        if rule.name is not None and rule.name in names:
            problems.append(
                Problem(
                    document.at((*place, "name")),
                    f"rule name {rule.name!r} is taken by {key[0]}[{names[rule.name]}]",
                    "give each rule a name of its own",
                )
            )
        names.setdefault(rule.name or "", index)
        denies = key == ("deny",) or (isinstance(rule, Rule) and rule.effect == "deny")
        problems += (
            _faults_of_deny(document, place, rule)
            if denies
            else _faults_of_allow(document, place, rule, caps)
        )
        label = _label(document, place, rule, origin)
        compiled = _deny(rule, label, origin, shared) if denies else _allow(rule, label, origin, shared)
        for number, text in enumerate(rule.hosts):
            position = document.at((*place, "hosts", number))
            pattern = HostPattern.of(text)
            if not denies:
                problems += _faults_of_host(position, pattern, rule)
            placed.append(Placed(position, index, pattern, compiled))
            if len(placed) % HOSTS_IN_A_STEP == 0:
                yield
    return placed, problems


def _label(document: Document, place: Path_, rule: Written, origin: Origin) -> str:
    path = PurePath(document.file)
    file = f"policies/{path.name}" if origin is Origin.NAMED else path.name
    name = f" {rule.name!r}" if rule.name else ""
    return f"{file}:{document.at(place).line} {place[0]}[{place[1]}]{name}"


def _allow(rule: Written, label: str, origin: Origin, shared: _Shared) -> AllowRule:
    reason = Reason.ALLOWED_BY_OPERATOR if origin is Origin.OPERATOR else Reason.ALLOWED_BY_RULE
    return AllowRule(
        label=label,
        services=shared.set(_services(rule)),
        methods=shared.set(rule.methods or (("GET",) if rule.upgrade else READING)),
        paths=shared.paths(rule.paths or (ANY_PATH,)),
        query=None if rule.query == "any" else shared.set(rule.query or ()),
        content_types=shared.set(rule.content_types or ()),
        encoded_slash=rule.encoded_slash,
        max_body=rule.max_body or MAX_SIZE,
        verdict=replace(allowed(reason, label, "A rule allows it."), upgrade=rule.upgrade),
        upgrade=rule.upgrade,
        subprotocols=shared.set(rule.subprotocols or ()),
    )


def _services(rule: Written) -> Iterable[Service]:
    if rule.schemes is None:
        ports = rule.ports or (443,)
        return [("http" if port == 80 else "https", port) for port in ports]
    if rule.ports is None:
        return [(scheme, _DEFAULT_PORT[scheme]) for scheme in rule.schemes]
    return [(scheme, port) for scheme in rule.schemes for port in rule.ports]


def _deny(rule: Written, label: str, origin: Origin, shared: _Shared) -> DenyRule:
    whole = rule.methods is None and rule.paths is None and rule.query is None and rule.content_types is None
    if origin is Origin.OPERATOR:
        reason = Reason.HOST_DENIED_BY_OPERATOR if whole else Reason.REQUEST_DENIED_BY_OPERATOR
        mend = "Ask the operator of this appliance; a tenant's own policy cannot change it."
    else:
        reason = Reason.HOST_DENIED_BY_RULE if whole else Reason.REQUEST_DENIED_BY_RULE
        mend = "Change or remove the deny rule, if the request is meant to be allowed."
    paths = shared.paths(rule.paths) if rule.paths else None
    return DenyRule(
        label=label,
        schemes=shared.set(rule.schemes) if rule.schemes else None,
        ports=shared.set(rule.ports) if rule.ports else None,
        methods=shared.set(rule.methods) if rule.methods else None,
        paths=paths,
        query=shared.set(rule.query) if isinstance(rule.query, tuple) else None,
        content_types=shared.set(rule.content_types) if rule.content_types else None,
        verdict=denied(reason, label, "A rule denies it, and deny wins.", mend),
        read_paths=shared.deny_paths(paths) if paths else None,
    )


def _faults_of_allow(document: Document, place: Path_, rule: Written, caps: Caps | None) -> Iterator[Problem]:
    if isinstance(rule, Rule) and rule.tls == "passthrough":
        yield Problem(
            document.at((*place, "tls")), "only the operator may let TLS through unread",
            "leave it out, or ask for a passthrough in operator.yaml",
        )  # fmt: skip
    yield from _faults_of_upgrade(document, place, rule)
    if rule.content_types and READING.issuperset(rule.methods or READING):
        yield Problem(
            document.at((*place, "content_types")), "GET and HEAD carry no body, so no content type",
            "leave it out, or add a method with a body",
        )  # fmt: skip
    if rule.max_body is None:
        return
    if not rule.content_types and not rule.upgrade:
        yield Problem(
            document.at((*place, "max_body")), "max_body without content_types: no body is allowed at all",
            "write content_types: [application/json], or leave max_body out",
        )  # fmt: skip
    elif caps is not None and rule.max_body > caps.request_body_bytes:
        yield Problem(
            document.at((*place, "max_body")),
            f"max_body is above caps.request_body, {format_size(caps.request_body_bytes)}, which wins",
            "raise caps.request_body, or write less here", Severity.WARNING,
        )  # fmt: skip


def _faults_of_host(position: Position, pattern: HostPattern, rule: Written) -> Iterator[Problem]:
    """Of a host of an allow rule: only a wildcard can be wrong with what the rule allows."""
    if not pattern.below:
        return
    changing = STATE_CHANGING.intersection(rule.methods or ())
    if is_anybodys(pattern):
        yield Problem(position, *anybodys(str(pattern), pattern))
    elif changing:
        yield Problem(
            position,
            f"{pattern} with {', '.join(sorted(changing))}: state-changing methods need exact hosts",
            "list the exact names, or keep to GET, HEAD and OPTIONS",
        )  # fmt: skip
    elif rule.upgrade:
        yield Problem(
            position, f"{pattern} with upgrade: what can send anything needs exact hosts",
            "list the exact names, or leave upgrade out",
        )  # fmt: skip


def _faults_of_upgrade(document: Document, place: Path_, rule: Written) -> Iterator[Problem]:
    if rule.subprotocols and not rule.upgrade:
        yield Problem(
            document.at((*place, "subprotocols")), "subprotocols without upgrade: no WebSocket is opened",
            "write upgrade: websocket, or leave subprotocols out",
        )  # fmt: skip
    if rule.upgrade and rule.methods not in {None, ("GET",)}:
        # RFC 6455 section 4.1. One rule for both would let a body in where a WebSocket was meant.
        yield Problem(
            document.at((*place, "methods")), "a WebSocket is opened by GET; the rule allows nothing else",
            "leave methods out, and write a rule of its own for other requests",
        )  # fmt: skip


def _faults_of_deny(document: Document, place: Path_, rule: Written) -> Iterator[Problem]:
    if rule.encoded_slash:
        yield Problem(document.at((*place, "encoded_slash")), "a deny rule lets nothing in", "leave it out")
    if rule.max_body is not None:
        yield Problem(document.at((*place, "max_body")), "a deny rule has no max_body", "leave it out")
    if rule.upgrade or rule.subprotocols:
        key = "upgrade" if rule.upgrade else "subprotocols"
        yield Problem(
            document.at((*place, key)), "a deny rule denies upgrades as everything else", "leave it out"
        )
    if rule.query == "any":
        yield Problem(
            document.at((*place, "query")), "a deny rule names query keys", "list them, or leave query out"
        )
    if isinstance(rule, Rule) and rule.tls == "passthrough":
        yield Problem(document.at((*place, "tls")), "a deny rule lets nothing through", "leave tls out")
