"""A document's plain data → its model, in steps, with every fault that the model finds.

Rules are read one by one, and the hosts of a rule that has many as well: thousands of them in one piece would
hold up all that the process does. What comes of it is what the model makes of the whole document.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from appliance.faults import Fault, faults_of
from appliance.policy.documents import (
    HostText,
    NamedPolicyDocument,
    OperatorDocument,
    OperatorRule,
    Rule,
    TenantDocument,
    distinct,
)
from appliance.policy.problems import Problem
from appliance.yamldoc import Document, Path_

RULES_IN_A_STEP = 20
HOSTS_IN_A_STEP = 100  # a rule with no more of them is read in one piece

_RULES: Mapping[type[BaseModel], Mapping[str, type[Rule | OperatorRule]]] = {
    TenantDocument: {"rules": Rule},
    NamedPolicyDocument: {"rules": Rule},
    OperatorDocument: {"allow": OperatorRule, "deny": OperatorRule},
}
# Without fault: stand for lists that are read by themselves, while the rest of the document is read.
_A_HOST = "one.example"
_A_RULE = {"name": "one", "hosts": [_A_HOST]}

_HOST: TypeAdapter[str] = TypeAdapter(HostText)
_DISTINCT: TypeAdapter[tuple[str, ...]] = TypeAdapter(Annotated[tuple[str, ...], AfterValidator(distinct)])

Rules = dict[str, list[Rule | OperatorRule]]
"""By the key that they stand under."""

_Model = TypeVar("_Model", bound=BaseModel)
_Read = TypeVar("_Read")


def reading(
    document: Document, model: type[_Model]
) -> Generator[None, None, tuple[_Model | None, Rules, list[Problem]]]:
    """The model, or None when the document has faults. Its rules are apart from it, by their keys."""
    faults = _Faults(document, model)
    data = document.data
    lists = {key: items for key in _RULES[model] if (items := _list(data, key))}
    short = data | {key: [_A_RULE] for key in lists} if lists else data
    made = faults.of((), lambda: model.model_validate(short))
    rules: Rules = {}
    for key, items in lists.items():
        rules[key] = []
        for index, item in enumerate(items):
            if (index + 1) % RULES_IN_A_STEP == 0:
                yield
            rule = yield from _rule(faults, (key, index), item, _RULES[model][key])
            if rule is not None:
                rules[key].append(rule)
    if made is None or faults.found:
        return None, rules, faults.in_order()
    return made, rules, []


def _rule(
    faults: _Faults, place: Path_, item: Any, model: type[Rule | OperatorRule]
) -> Generator[None, None, Rule | OperatorRule | None]:
    hosts = _list(item, "hosts")
    if len(hosts) <= HOSTS_IN_A_STEP:
        return faults.of(place, lambda: model.model_validate(item))
    made = faults.of(place, lambda: model.model_validate(item | {"hosts": [_A_HOST]}))
    place = (*place, "hosts")
    read = []
    for number, host in enumerate(hosts):
        if (number + 1) % HOSTS_IN_A_STEP == 0:
            yield
        read.append(faults.of((*place, number), lambda host=host: _HOST.validate_python(host)))  # type: ignore[misc]  # mypy cannot tell a lambda's default
    if made is None or None in read:
        return None
    names = faults.of(place, lambda: _DISTINCT.validate_python(tuple(read)))
    return made.model_copy(update={"hosts": names})


def _list(data: Any, key: str) -> list[Any]:
    items = data.get(key) if isinstance(data, dict) else None
    return items if isinstance(items, list) else []


class _Faults:
    """What was found so far, each fault once; in the order of the model's fields, unknown keys last."""

    def __init__(self, document: Document, model: type[BaseModel]) -> None:
        self._document = document
        self._model = model
        self._order = {name: place for place, name in enumerate(model.model_fields)}
        self.found: list[tuple[int, Fault]] = []

    def of(self, place: Path_, read: Callable[[], _Read]) -> _Read | None:
        """What `read` gives, or None; its faults are those of the value at `place`."""
        try:
            return read()
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                fault["loc"] = where = (*place, *fault["loc"])
                order = self._order.get(str(where[0]), len(self._order)) if where else -1
                self.found += [(order, each) for each in faults_of([fault], self._document, self._model)]
            return None

    def in_order(self) -> list[Problem]:
        """As problems of the document."""
        self.found.sort(key=lambda item: item[0])
        once = {(fault.position, fault.message): fault for _, fault in reversed(self.found)}
        return [Problem(fault.position, fault.message, fault.mend) for fault in reversed(once.values())]
