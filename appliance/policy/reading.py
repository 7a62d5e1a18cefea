"""A document's plain data → its model, in steps, with every fault that the model finds.

Rules are read one by one, and so are the hosts of a rule that has many, and many denied networks: thousands
of them in one piece would hold up all that the process does. What comes of it is what the model makes of the
whole document.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from appliance.faults import Fault, faults_of
from appliance.policy.documents import (
    MAX_NETWORKS,
    HostText,
    NamedPolicyDocument,
    NetworkText,
    OperatorDocument,
    OperatorRule,
    Rule,
    TenantDocument,
    distinct,
)
from appliance.policy.problems import Problem
from appliance.yamldoc import Document, Path_

RULES_IN_A_STEP = 20
ITEMS_IN_A_STEP = 100  # hosts or networks; a list with no more of them is read in one piece

_NETWORKS = "deny_addresses"

_RULES: Mapping[type[BaseModel], Mapping[str, type[Rule | OperatorRule]]] = {
    TenantDocument: {"rules": Rule},
    NamedPolicyDocument: {"rules": Rule},
    OperatorDocument: {"allow": OperatorRule, "deny": OperatorRule},
}
# Without fault: stand for lists that are read by themselves, while the rest of the document is read.
_A_HOST = "one.example"
_A_RULE = {"name": "one", "hosts": [_A_HOST]}
_A_NETWORK = "192.0.2.0/24"

_HOST: TypeAdapter[str] = TypeAdapter(HostText)
_NETWORK: TypeAdapter[str] = TypeAdapter(NetworkText)
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
    networks = _list(data, _NETWORKS) if model is OperatorDocument else []
    many = ITEMS_IN_A_STEP < len(networks) <= MAX_NETWORKS
    if many:
        short = short | {_NETWORKS: [_A_NETWORK]}
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
    texts = (yield from _texts(faults, (_NETWORKS,), networks, _NETWORK)) if many else None
    dropped = [key for key, items in lists.items() if len(rules[key]) != len(items)]
    if not faults.found and (made is None or dropped or (many and texts is None)):
        what = ", ".join(dropped) or "the document"
        mend = "see that each value is of the kind that the documentation names"
        return None, rules, [Problem(document.at(tuple(dropped[:1])), f"part of {what} cannot be read", mend)]
    if made is None or faults.found:
        return None, rules, faults.in_order()
    return made.model_copy(update={_NETWORKS: texts}) if many else made, rules, []


def _rule(
    faults: _Faults, place: Path_, item: Any, model: type[Rule | OperatorRule]
) -> Generator[None, None, Rule | OperatorRule | None]:
    hosts = _list(item, "hosts")
    if len(hosts) <= ITEMS_IN_A_STEP:
        return faults.of(place, lambda: model.model_validate(item))
    made = faults.of(place, lambda: model.model_validate(item | {"hosts": [_A_HOST]}))
    texts = yield from _texts(faults, (*place, "hosts"), hosts, _HOST)
    return None if made is None or texts is None else made.model_copy(update={"hosts": texts})


def _texts(
    faults: _Faults, place: Path_, items: list[Any], adapter: TypeAdapter[str]
) -> Generator[None, None, tuple[str, ...] | None]:
    """All items in their canonical form, none twice; or None."""
    read = []
    for number, item in enumerate(items):
        if (number + 1) % ITEMS_IN_A_STEP == 0:
            yield
        read.append(faults.of((*place, number), partial(adapter.validate_python, item)))
    return None if None in read else faults.of(place, partial(_DISTINCT.validate_python, tuple(read)))


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
