"""What the benchmarks of policies ask is what they say: hits are decided by a rule, the others are not."""

from __future__ import annotations

from collections import Counter

import pytest

from appliance.policy.compile import OperatorLayer, compile_tenant
from appliance.policy.problems import errors
from appliance.policy.verdict import Reason
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
    again, anew, cold = ({(f.host, f.path) for f in requests(load, 1000, 1)} for load in (AGAIN, ANEW, COLD))
    assert len(again) <= verdicts.DISTINCT[AGAIN]
    assert len(anew) == len(cold) == REQUESTS
    known = [{host for host, _ in load if ".team-" in host.text} for load in (anew, cold)]
    assert len(known[0]) <= KINDS < len(known[1])
    assert len(known[0]) < len({host for host, _ in anew}) / 10


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
