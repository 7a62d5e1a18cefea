"""What a verdict costs as rules grow from 10 to 100,000: microseconds of the evaluator that the gateway asks.

Rules are mixed (exact hosts, `*.suffix`, path patterns, methods and bodies, denials) and compiled by the real
compiler from documents as the YAML reader gives them; a tenant's document holds 10,000 of them at most, the
others are in named policies that it uses. Requests are heads that the real parser has read, half of them for
rules drawn over the whole policy, half just beside one or for hosts that no rule knows.

Three loads. *Again*: requests of a few hundred kinds come back, as a container's do. *Anew*: no request comes
twice, and no host that no rule knows, but all are about ten rules, wherever these stand among the others.
*Cold*: the same, each about a rule drawn from all of them, which is the worst case.

Under every policy each load is judged in turns, whose order changes: a machine whose pace changes changes it for
all of them. A turn's requests are read just before it, as a worker reads one before it judges it. The p99 has the
first verdicts of turns in it.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Iterator, Mapping
from itertools import islice
from time import perf_counter_ns
from typing import Any

from appliance.gateway.judging import facts_of
from appliance.gateway.origin import Origin
from appliance.http1.head import RequestHead, parse_request_head
from appliance.policy.compile import OperatorLayer, compile_named, compile_tenant
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts
from appliance.yamldoc import Document
from tests.bench.rows import Row

COUNTS = (10, 1_000, 10_000, 100_000)
RULES_A_DOCUMENT = 10_000
REQUESTS = 4_000  # a round, of each load, under each policy
TURN = 200  # of these at a time
AGAIN, ANEW, COLD = "again", "anew", "cold"
DISTINCT = {AGAIN: 200, ANEW: REQUESTS, COLD: REQUESTS}
GROWTH, MICROSECONDS = 1.2, 10.0
KINDS = 10  # of rules, and as many of requests
WHY = "as many instructions, measured apart; what grows is the wait for memory (ARCHITECTURE.md, What a request costs)"


def rule(number: int) -> dict[str, Any]:
    """One written rule; what it is about goes by `number`."""
    kind = number % KINDS
    written: dict[str, Any] = {"name": f"r{number}", "hosts": [host_of(number)]}
    if kind < 3:
        written["paths"] = ["/v1/**", f"/files/{number}/*"]
    elif kind < 5:
        written |= {"methods": ["GET", "POST"], "paths": ["/api/*/items/**", "/health"],
                    "query": ["page", "size"], "content_types": ["application/json"]}  # fmt: skip
    elif kind < 8:
        written["hosts"] = [f"*.{suffix_of(number)}"]
    elif kind == 8:
        written |= {"effect": "deny", "paths": ["/admin/**"], "methods": ["DELETE"]}
    else:
        written["query"] = "any"
    return written


def host_of(number: int) -> str:
    """The host that a rule is about, itself or below it."""
    return f"service-{number}.team-{number % 97}.example.net"


def suffix_of(number: int) -> str:
    """The suffix of a rule's wildcard: of one length, or of two others."""
    return f"{('', 'eu.', 'west.eu.')[number % KINDS - 5]}{host_of(number)}"


def policy_of(count: int) -> TenantPolicy:
    """A tenant's policy of `count` rules, compiled as from disk."""
    rules = [rule(number) for number in range(count)]
    own, *others = (rules[first : first + RULES_A_DOCUMENT] for first in range(0, count, RULES_A_DOCUMENT))
    named = {
        f"shared-{number}": compile_named(_document({"rules": part}, f"shared-{number}.yaml"))[0]
        for number, part in enumerate(others)
    }
    data: dict[str, Any] = {"profile": "allowlist", "rules": own}
    if named:
        data["use"] = list(named)
    layer, problems = compile_tenant(_document(data, "bench.yaml"), "bench", OperatorLayer(), named)
    if layer is None:
        raise RuntimeError(str(problems[0]))
    return TenantPolicy("bench", str(count), layer.caps, profile=layer.profile, own=RuleIndex(layer.entries))


def _document(data: dict[str, Any], file: str) -> Document:
    return Document(data, {(): (1, 1)}, file)


def requests(load: str, count: int, seed: int) -> Iterator[RequestFacts]:
    """`REQUESTS` requests for a policy of `count` rules, each read from its octets."""
    chance = random.Random(seed)
    distinct = []
    few = chance.randrange(count // KINDS)
    for place in range(DISTINCT[load]):
        number = (few if load == ANEW else chance.randrange(count // KINDS)) * KINDS + place % KINDS
        distinct.append(_head(number, f"{load}-{seed}-{place}", hit=chance.random() < 0.5))
    heads = distinct * (REQUESTS // len(distinct))
    chance.shuffle(heads)
    for octets in heads:
        head = parse_request_head(octets)
        if not isinstance(head, RequestHead):
            raise TypeError(f"no whole head: {octets!r}")
        yield facts_of(head, Origin("https", head.host, 443))


def _head(number: int, place: str, *, hit: bool) -> bytes:
    """A request that rule `number` decides, or one beside it; `place` tells it from all others."""
    kind, host, method, path, more = number % KINDS, host_of(number), "GET", f"/{place}", ""
    if kind < 3:
        path = f"/files/{number}/{place}" if hit else f"/files/{number}/{place}/b"
    elif kind < 5:
        method, path = "POST", f"/api/{place}/items/7?page=2" if hit else f"/api/{place}/things/7?page=2"
        more = "Content-Type: application/json\r\nContent-Length: 20\r\n"
    elif kind < 8:
        host = f"a.{suffix_of(number)}" if hit else f"other-{number}-{place}.example.org"
    elif kind == 8:
        method, path = "DELETE" if hit else "GET", f"/admin/{place}"
    elif not hit:
        host = f"unknown-{number}-{place}.example.com"
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n{more}\r\n"
    return head.encode()


def judged(policy: TenantPolicy, asked: list[RequestFacts]) -> list[float]:
    """Microseconds of each verdict."""
    judge, spent = policy.judge, []
    for facts in asked:
        begun = perf_counter_ns()
        judge(facts)
        spent.append((perf_counter_ns() - begun) / 1000)
    return spent


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def measure(rounds: int) -> list[Row]:
    """Growth over the rules, and the middle verdict under the most of them, for every load."""
    policies = {count: policy_of(count) for count in COUNTS}
    gc.collect()
    gc.freeze()  # a worker's policies are not looked through either
    spent: dict[str, list[dict[int, list[float]]]] = {load: [] for load in DISTINCT}
    for number in range(rounds):
        for load, found in spent.items():
            found.append(_in_turn(policies, load, number))
    gc.unfreeze()
    return [row for load, found in spent.items() for row in _rows(load, found)]


def _in_turn(policies: Mapping[int, TenantPolicy], load: str, seed: int) -> dict[int, list[float]]:
    """Microseconds of each verdict of a round, by the number of rules."""
    asked = {count: requests(load, count, seed) for count in policies}
    found: dict[int, list[float]] = {count: [] for count in policies}
    order = list(policies)
    for _ in range(0, REQUESTS, TURN):
        for count in order:
            found[count] += judged(policies[count], list(islice(asked[count], TURN)))
        order = [*order[1:], order[0]]
    return found


def _rows(load: str, rounds: list[dict[int, list[float]]]) -> list[Row]:
    p50 = {count: statistics.median(statistics.median(found[count]) for found in rounds) for count in COUNTS}
    p99 = {count: statistics.median(percentile(found[count], 0.99) for found in rounds) for count in COUNTS}
    least, most = COUNTS[0], COUNTS[-1]
    growths = [statistics.median(found[most]) / statistics.median(found[least]) for found in rounds]
    growth = statistics.median(growths)
    raw: dict[str, Any] = {f"p50_us_{count}": round(value, 2) for count, value in p50.items()}
    raw |= {f"p99_us_{count}": round(value, 2) for count, value in p99.items()}
    raw["verdicts"] = sum(len(found[most]) for found in rounds)
    raw["growth_by_round"] = [round(each, 3) for each in growths]
    why = WHY if growth > GROWTH else ""
    name = f"verdict, {load}"
    return [
        Row(f"{name}: p50, {most} rules / {least} rules", growth, GROWTH, "down", raw, why),
        Row(f"{name}: p50 with {most} rules / {MICROSECONDS:.0f} µs", p50[most] / MICROSECONDS, 1.0, "down",
            {"ours_us": round(p50[most], 2), "goal_us": MICROSECONDS}, WHY if p50[most] > MICROSECONDS else ""),
    ]  # fmt: skip


if __name__ == "__main__":
    for row in measure(5):
        print(row.as_json())
