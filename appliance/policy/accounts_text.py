"""accounts.yaml as text: one account more or less, and not another letter changed, comments included."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode

from appliance import yamldoc

_KEY = "accounts"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})  # of YAML 1.1 or 1.2
HEAD = "# Integration accounts: which tenants use which integration. Fields: egress policy schema accounts\n"


class NotEditable(ValueError):
    """The text cannot be changed here without changing more; `str()` says what to do."""


def with_account(text: str, account: Mapping[str, Any]) -> str:
    """The document with `account` as its last. Raises `NotEditable`."""
    data, root = _read(text)
    accounts = _accounts(root)
    if root is None:
        edited = f"{text or HEAD}{_KEY}:\n{_block(account, 2)}"
    elif accounts is None:
        edited = _with_key(text, root, account)
    elif accounts.flow_style:
        end = accounts.end_mark.index - 1
        comma = ", " if accounts.value else ""
        edited = f"{text[:end].rstrip()}{comma}{_flow(account)}{text[end:]}"
    else:
        dash = _dash(text, accounts.value[0])
        end = _line_end(text, _last(accounts.value[-1]))
        indent = dash - (text.rfind("\n", 0, dash) + 1)
        newline = "" if text[:end].endswith("\n") else "\n"
        edited = f"{text[:end]}{newline}{_block(account, indent)}{text[end:]}"
    expected = {**(data or {}), _KEY: [*((data or {}).get(_KEY) or ()), dict(account)]}
    return _checked(edited, expected)


def without_account(text: str, name: str) -> str:
    """The document without the account called so. Raises `KeyError` or `NotEditable`."""
    data, root = _read(text)
    accounts = _accounts(root)
    names = [item.get("name") if isinstance(item, dict) else None for item in (data or {}).get(_KEY) or ()]
    index = names.index(name) if name in names else -1
    if index < 0 or accounts is None or root is None:
        raise KeyError(name)
    kept = [item for number, item in enumerate(data[_KEY]) if number != index]
    expected = {**data, _KEY: kept} if kept else {k: v for k, v in data.items() if k != _KEY}
    items = accounts.value
    if not kept:
        edited = _without_key(text, root)
    elif accounts.flow_style:
        start = items[index].start_mark.index if index + 1 < len(items) else items[index - 1].end_mark.index
        end = items[index + 1].start_mark.index if index + 1 < len(items) else items[index].end_mark.index
        edited = text[:start] + text[end:]
    else:
        start = text.rfind("\n", 0, _dash(text, items[index])) + 1
        edited = text[:start] + text[_line_end(text, _last(items[index])) :]
    return _checked(edited, expected)


def _read(text: str) -> tuple[Any, MappingNode | None]:
    try:
        data = yamldoc.loads(text.encode(), "accounts.yaml").data
        root = YAML(typ="rt").compose(io.StringIO(text))
    except (yamldoc.YamlError, YAMLError) as error:
        raise NotEditable(f"{error}; mend that first") from None
    if data is None:
        return None, None
    if not isinstance(data, dict) or not isinstance(root, MappingNode):
        raise NotEditable("accounts.yaml holds no keys and values; mend that first")
    return data, root


def _accounts(root: MappingNode | None) -> SequenceNode | None:
    for key, value in () if root is None else root.value:
        if key.value == _KEY:
            if isinstance(value, SequenceNode):
                return value
            raise NotEditable("accounts is no list; mend that first")
    return None


def _with_key(text: str, root: MappingNode, account: Mapping[str, Any]) -> str:
    if not root.flow_style:
        return f"{text.rstrip()}\n{_KEY}:\n{_block(account, 2)}"
    if root.value:
        end = root.end_mark.index - 1
        return f"{text[:end].rstrip()}, {_KEY}: [{_flow(account)}]{text[end:]}"
    rest = text[root.end_mark.index :].lstrip("\n")
    return f"{text[: root.start_mark.index]}{_KEY}:\n{_block(account, 2)}{rest}"


def _without_key(text: str, root: MappingNode) -> str:
    if root.flow_style:
        if len(root.value) > 1:
            raise NotEditable(
                "accounts stands on one line with other keys; take the last account out by hand"
            )
        return f"{text[: root.start_mark.index]}{{}}{text[root.end_mark.index :]}"
    (key, value) = next((key, value) for key, value in root.value if key.value == _KEY)
    start, end = key.start_mark.index, _line_end(text, _last(value))
    left = "" if len(root.value) > 1 else "{}\n"
    return text[:start] + left + text[end:]


def _dash(text: str, item: Node) -> int:
    """Where the `-` of a block sequence's item is."""
    return text.rfind("-", 0, item.start_mark.index)


def _last(node: Node) -> int:
    """Index after the last character of a value; a block's own end mark lies after the comments behind it."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _last(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, index: int) -> int:
    """Index after the end of the line in which `index` is."""
    found = text.find("\n", max(index - 1, 0) if text[index - 1 : index] == "\n" else index)
    return len(text) if found < 0 else found + 1


def _block(account: Mapping[str, Any], indent: int) -> str:
    lines = [f"{key}: {_flow(value)}" for key, value in account.items()]
    return "".join(f"{' ' * indent}{'  ' if number else '- '}{line}\n" for number, line in enumerate(lines))


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if type(value) is int:
        return str(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text)


def _checked(text: str, expected: Any) -> str:
    """The text, if it says what was meant; whatever way the document was written."""
    try:
        if yamldoc.loads(text.encode(), "accounts.yaml").data == expected:
            return text
    except yamldoc.YamlError:
        pass  # as little what was meant
    raise NotEditable("accounts.yaml is written in a way that cannot be changed here; edit it by hand")
