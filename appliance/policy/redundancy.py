"""Rules of one document that can never decide anything, because another rule has decided it already.

A rule that is wholly covered is an error: its author believes in something that does not happen. Two allow
rules that meet only in part are a warning: both hold, and the wider limits win where they meet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from appliance.policy.hosts import HostPattern
from appliance.policy.paths import PathPattern
from appliance.policy.problems import Problem, Severity
from appliance.policy.rules import AllowRule, DenyRule, parents
from appliance.yamldoc import Position

MAX_RULES_A_HOST = 256  # comparing is quadratic for one host, and so is reading such a policy
MAX_COMPARISONS = 10_000_000  # pairs of path segments: a second or two in all
RULES_IN_A_STEP = 50
COMPARISONS_IN_A_STEP = 10_000

Rule = AllowRule | DenyRule


@dataclass(frozen=True, slots=True)
class Placed:
    """One host of one rule and where it is written; `order` is the rule's place in the document."""

    position: Position
    order: int
    pattern: HostPattern
    rule: Rule


def redundant(placed: Sequence[Placed]) -> Generator[None, None, list[Problem]]:
    """A problem for every host of a rule that other rules leave nothing to decide; in steps."""
    by_host: dict[HostPattern, list[Placed]] = defaultdict(list)
    sizes: dict[int, int] = {}
    for number, item in enumerate(placed):
        by_host[item.pattern].append(item)
        sizes[id(item.rule)] = sizes.get(id(item.rule)) or _segments(item.rule)
        if (number + 1) % RULES_IN_A_STEP == 0:
            yield
    crowded = {pattern for pattern, items in by_host.items() if len(items) > MAX_RULES_A_HOST}
    problems = [
        Problem(
            by_host[pattern][MAX_RULES_A_HOST].position,
            f"more than {MAX_RULES_A_HOST} rules name {pattern}",
            "join them: one rule takes many paths",
        )
        for pattern in crowded
    ]
    compared = since = 0
    for number, item in enumerate(placed):
        if (number + 1) % RULES_IN_A_STEP == 0 or compared - since > COMPARISONS_IN_A_STEP:
            since = compared
            yield
        if item.pattern in crowded:
            continue
        others = [o for o in _speaking_of(item.pattern, by_host) if o is not item]
        compared += sizes[id(item.rule)] * sum(sizes[id(other.rule)] for other in others)
        if compared > MAX_COMPARISONS:
            problems.append(_too_much(item))
            break
        problems.extend(_about(item, others))
    return problems


def _segments(rule: Rule) -> int:
    return sum(len(path.segments) for path in rule.paths or ()) or 1


def _too_much(item: Placed) -> Problem:
    return Problem(
        item.position,
        f"too many rules with too long paths speak of {item.pattern} and of the hosts before it",
        "join rules, or write shorter paths: `**` stands for many segments",
    )


def _speaking_of(pattern: HostPattern, by_host: dict[HostPattern, list[Placed]]) -> Iterator[Placed]:
    yield from by_host[pattern][: MAX_RULES_A_HOST + 1]
    for suffix in parents(pattern.name):
        yield from by_host.get(HostPattern(suffix, below=True), ())[: MAX_RULES_A_HOST + 1]


def _about(item: Placed, others: Sequence[Placed]) -> Iterator[Problem]:
    for other in others:
        same = covers(item.rule, other.rule) and item.pattern.covers(other.pattern)
        if covers(other.rule, item.rule) and not (
            same and item.order <= other.order and item.rule is not other.rule
        ):
            yield _unreachable(item, other, same=same)
            return
    for other in others:
        if other.order < item.order and other.pattern == item.pattern and overlap(item.rule, other.rule):
            yield Problem(
                item.position,
                f"for {item.pattern}, {item.rule.label} overlaps {other.rule.label}",
                "make their methods or paths differ, or join the two; where they meet both allow",
                Severity.WARNING,
            )
            return


def _unreachable(item: Placed, other: Placed, *, same: bool) -> Problem:
    if item.rule is other.rule:
        return Problem(
            item.position, f"{item.pattern} is already covered by {other.pattern}", "leave one of them out"
        )
    if isinstance(other.rule, DenyRule) and isinstance(item.rule, AllowRule):
        return Problem(
            item.position,
            f"unreachable for {item.pattern}: {other.rule.label} denies all that this rule allows",
            "remove one of the two, or narrow the deny rule",
        )
    word = "duplicate" if same else "unreachable"
    return Problem(
        item.position,
        f"{word} for {item.pattern}: {other.rule.label} says it already",
        "remove it, or the other",
    )


def covers(wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` decides every request that `narrow` decides, for the same host."""
    if isinstance(wide, DenyRule):
        return _deny_covers(wide, narrow)
    return isinstance(narrow, AllowRule) and (
        wide.services >= narrow.services
        and wide.methods >= narrow.methods
        and _paths_cover(wide.paths, narrow.paths)
        and _keys_cover(wide.query, narrow.query)
        and wide.content_types >= narrow.content_types
        and wide.encoded_slash >= narrow.encoded_slash
        and (not (narrow.content_types or narrow.upgrade) or wide.max_body >= narrow.max_body)
        and wide.upgrade == narrow.upgrade
        and wide.subprotocols >= narrow.subprotocols
    )


def _deny_covers(wide: DenyRule, narrow: Rule) -> bool:
    if not (_keys_cover(wide.methods, narrow.methods) and _paths_cover(wide.paths, narrow.paths)):
        return False
    if isinstance(narrow, AllowRule):
        return wide.query is wide.content_types is None and all(
            (wide.schemes is None or scheme in wide.schemes) and (wide.ports is None or port in wide.ports)
            for scheme, port in narrow.services
        )
    return (
        _keys_cover(wide.schemes, narrow.schemes)
        and (wide.ports is None or (narrow.ports is not None and wide.ports >= narrow.ports))
        and _keys_cover(wide.query, narrow.query)
        and _keys_cover(wide.content_types, narrow.content_types)
    )


def _keys_cover(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    return wide is None or (narrow is not None and wide >= narrow)


def _paths_cover(wide: tuple[PathPattern, ...] | None, narrow: tuple[PathPattern, ...] | None) -> bool:
    if wide is None:
        return True
    return narrow is not None and all(any(w.covers(n) for w in wide) for n in narrow)


def overlap(one: Rule, other: Rule) -> bool:
    """Whether two allow rules, neither covering the other, have requests in common."""
    return (
        isinstance(one, AllowRule)
        and isinstance(other, AllowRule)
        and bool(one.services & other.services)
        and bool(one.methods & other.methods)
        and one.upgrade == other.upgrade
        and any(a.overlaps(b) for a in one.paths for b in other.paths)
    )
