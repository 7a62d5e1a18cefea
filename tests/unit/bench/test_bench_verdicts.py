"""What the benchmarks of policies ask is what they say: hits are decided by a rule, the others are not."""

from __future__ import annotations

from collections import Counter

import pytest

from appliance.policy.compile import OperatorLayer, compile_tenant
from appliance.policy.problems import errors
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import Reason, RequestFacts
from appliance.yamldoc import loads
from tests.bench import reloads, verdicts
from tests.bench.verdicts import AGAIN, ANEW, COLD, KINDS, REQUESTS, policy_of, requests

BY_A_RULE = {Reason.ALLOWED_BY_RULE, Reason.REQUEST_DENIED_BY_RULE}


@pytest.mark.parametrize("load", [AGAIN, ANEW, COLD])
def test_about_half_of_the_requests_are_decided_by_a_rule(load: str) -> None:
    policy = policy_of(100)
    found = Counter(policy.judge(facts).reason for facts in requests(load, 100, 1))
    assert sum(found.values()) == REQUESTS
    assert 0.4 < sum(found[reason] for reason in BY_A_RULE) / REQUESTS < 0.6
    assert set(found) == BY_A_RULE | {Reason.HOST_NOT_LISTED, Reason.PATH_NOT_ALLOWED}


def test_loads_differ_in_what_comes_again() -> None:
    again, anew, cold = ([(f.host, f.path) for f in requests(load, 1000, 1)] for load in (AGAIN, ANEW, COLD))
    assert len(set(again)) <= verdicts.DISTINCT[AGAIN]
    assert len({*anew, *cold}) == 2 * REQUESTS
    assert not {*anew, *cold} & {(f.host, f.path) for load in (ANEW, COLD) for f in requests(load, 1000, 2)}
    known = [{host for host, _ in asked if ".team-" in host.text} for asked in (anew, cold)]
    assert len(known[0]) <= KINDS < len(known[1])
    for asked in (anew, cold):
        unknown = [host for host, _ in asked if ".team-" not in host.text]
        assert len(set(unknown)) == len(unknown) > REQUESTS / 10


def test_every_policy_has_all_requests_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "TURN", REQUESTS // 5)
    order: list[str] = []

    def judged(policy: TenantPolicy, asked: list[RequestFacts]) -> list[float]:
        order.append(policy.generation)
        return [float(policy.generation)] * len(asked)

    monkeypatch.setattr(verdicts, "judged", judged)
    found = verdicts._in_turn({count: policy_of(count) for count in (10, 20)}, AGAIN, 1)
    assert found == {10: [10.0] * REQUESTS, 20: [20.0] * REQUESTS}
    assert order == ["10", "20", "20", "10", "10", "20", "20", "10", "10", "20"]


def test_growth_is_told_by_round() -> None:
    rounds = [
        {count: [1.0 + more * (count == verdicts.COUNTS[-1])] * 3 for count in verdicts.COUNTS}
        for more in (0, 1, 2)
    ]
    growth, p50 = verdicts._rows(COLD, rounds)
    assert (growth.ratio, growth.raw["growth_by_round"], growth.reached) == (2.0, [1.0, 2.0, 3.0], False)
    assert growth.reason == verdicts.WHY
    assert (p50.ratio, p50.reached, p50.reason) == (0.2, True, "")
    _, slow = verdicts._rows(COLD, [{count: [11.0] * 3 for count in verdicts.COUNTS}])
    assert (slow.reached, slow.reason) == (False, verdicts.WHY)


def test_rules_beyond_a_document_are_in_named_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "RULES_A_DOCUMENT", 30)
    policy = policy_of(100)
    assert len(list(policy.layers[1].entries())) == 100
    assert {rule.label.split(":")[0] for _, rule in policy.layers[1].entries()} == {
        "bench.yaml", *(f"policies/shared-{number}.yaml" for number in range(3))
    }  # fmt: skip


def test_a_document_of_the_reloads_is_a_policy_without_errors() -> None:
    one, other = (reloads.document(2 * KINDS, edition).encode() for edition in (1, 2))
    assert one != other
    layer, problems = compile_tenant(loads(one, "bench.yaml"), "bench", OperatorLayer(), {})
    assert not errors(problems)
    assert layer is not None
    assert len(layer.entries) == 2 * KINDS
