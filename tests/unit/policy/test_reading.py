"""A document that is read in steps is what its model makes of it at once, faults included."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from appliance.faults import faults
from appliance.policy.documents import NamedPolicyDocument, OperatorDocument, TenantDocument
from appliance.policy.reading import ITEMS_IN_A_STEP, reading
from appliance.stepwise import finish
from appliance.yamldoc import Document, loads

RULE: dict[str, Any] = {"name": "a", "hosts": ["a.example.com", "*.B.example.com"], "query": ["k"]}
MANY = [f"h{number}.example.com" for number in range(ITEMS_IN_A_STEP + 5)]
NETWORKS = [f"198.18.{number}.0/24" for number in range(ITEMS_IN_A_STEP + 5)]
GOOD: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (TenantDocument, {"profile": "allowlist"}),
    (TenantDocument, {"caps": {"uri": "1KiB"}, "rules": [RULE, {"name": "b", "hosts": MANY}, RULE]}),
    (NamedPolicyDocument, {"rules": [RULE]}),
    (OperatorDocument, {"description": "x", "deny_addresses": NETWORKS}),
    (OperatorDocument, {"allow": [{"hosts": MANY}], "deny": [RULE, RULE], "deny_addresses": ["192.0.2.0/24"]}),
]  # fmt: skip
BAD: list[tuple[type[BaseModel], Any]] = [
    (TenantDocument, []),
    (TenantDocument, {"rules": []}),
    (TenantDocument, {"rules": {"name": "a"}}),
    (TenantDocument, {"rules": [RULE, "a", None, {}, RULE | {"hosts": []}, RULE | {"hosts": "a"}]}),
    (TenantDocument, {"zzz": 1, "rules": [RULE | {"port": [1]}, RULE | {"ports": [0], "query": 5}], "use": []}),
    (TenantDocument, {"rules": [{"name": "-", "hosts": [*MANY, "a b", 5, "10.0.0.0/8"], "methods": ["get"]}]}),
    (TenantDocument, {"rules": [{"name": "a", "hosts": [*MANY, MANY[3].upper()]}]}),
    (NamedPolicyDocument, {"description": "nothing"}),
    (NamedPolicyDocument, {"rules": None}),
    (OperatorDocument, {"deny_addresses": [*NETWORKS, "::/0", NETWORKS[0], "10.0.0.1/8"], "deny": [{}]}),
    (OperatorDocument, {"deny_addresses": [*NETWORKS, NETWORKS[0]]}),
    (OperatorDocument, {"deny_addresses": NETWORKS * 60}),
    (OperatorDocument, {"deny": [{}], "allow": [{"hosts": [1]}, {"hosts": MANY, "x": 1}], "exceptions": [{}]}),
]  # fmt: skip


def written(data: Any) -> Document:
    return loads(json.dumps(data, indent=1).encode(), "f.yaml")


@pytest.mark.parametrize(("model", "data"), GOOD)
def test_the_model_is_the_same(model: type[BaseModel], data: dict[str, Any]) -> None:
    whole = model.model_validate(data)
    made, rules, problems = finish(reading(written(data), model))
    assert made is not None
    assert problems == []
    lists = {key: tuple(items) for key, items in rules.items()}
    assert made.model_copy(update=lists) == whole
    assert set(lists) == {"rules", "allow", "deny"} & set(data)


@pytest.mark.parametrize(("model", "data"), BAD)
def test_the_faults_are_the_same(model: type[BaseModel], data: Any) -> None:
    document = written(data)
    with pytest.raises(ValidationError) as refused:
        model.model_validate(data)
    made, _, problems = finish(reading(document, model))
    assert made is None
    assert [str(problem) for problem in problems] == [
        str(fault) for fault in faults(refused.value, document, model)
    ]


def test_a_rule_that_is_dropped_without_a_word_drops_the_document() -> None:
    """Here the document knows no place for the fault, which is then taken for the echo of another."""
    data = {"rules": [RULE, RULE | {"name": "no", "effect": ["deny"]}]}
    made, _, problems = finish(reading(Document(data, {(): (1, 1)}, "f.yaml"), TenantDocument))
    assert made is None
    assert ["cannot be read" in problem.message for problem in problems] == [True]


@pytest.mark.parametrize(
    "data",
    [
        {"rules": [RULE | {"name": f"r{number}"} for number in range(1000)]},
        {"rules": [{"name": "a", "hosts": [f"h{number}.example.com" for number in range(5000)]}]},
        {"rules": [{"nam": "a"}] * 1000},
    ],
)
def test_long_lists_are_read_in_many_steps(data: dict[str, Any]) -> None:
    assert len(list(reading(written(data), TenantDocument))) >= 49
