"""What pydantic found wrong with a document, worded for the person who wrote it: place, message, mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from appliance.yamldoc import Document, Position


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one place; `mend` says what to write instead. `str()` is a line for a terminal."""

    position: Position
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.position}: {self.message}; {self.mend}"


def faults(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Fault]:
    """Each fault once. A validator of ours words its error as `message; mend`."""
    return faults_of(error.errors(include_url=False), document, model)


def faults_of(errors: Iterable[Any], document: Document, model: type[BaseModel]) -> list[Fault]:
    """The same of `ValidationError.errors()`; their `loc` begins at the document."""
    found: dict[tuple[Position, str], Fault] = {}
    for fault in errors:
        if _is_echo(fault, document):
            continue
        worded = _worded(fault, document, model)
        found.setdefault((worded.position, worded.message), worded)
    return list(found.values())


def _is_echo(fault: Any, document: Document) -> bool:
    """Whether the fault only repeats another: a list short of its faulty items, a union's branch."""
    kind, given = fault["type"], fault["input"]
    if kind == "too_short":
        return len(given) > 0
    branch = tuple(fault["loc"]) not in document.positions
    return branch and (kind == "literal_error") == isinstance(given, list) and kind in _BRANCH_FAULTS


_BRANCH_FAULTS = ("literal_error", "tuple_type")


def _worded(fault: Any, document: Document, model: type[BaseModel]) -> Fault:
    place: tuple[str | int, ...] = tuple(fault["loc"])
    while place and place not in document.positions and fault["type"] != "missing":
        place = place[:-1]  # pydantic adds the name of a union's branch
    position = document.at(place)
    shown = _dotted(place) or "the document"
    match fault["type"]:
        case "extra_forbidden":
            return Fault(
                position, f"unknown key {place[-1]!r}", _keys_mend(str(place[-1]), place[:-1], model)
            )
        case "missing":
            return Fault(position, f"{shown} is missing", f"write {place[-1]}: …")
        case "too_short":
            return Fault(position, f"{shown} is empty", f"list at least one item, or leave out {place[-1]!r}")
        case "value_error":
            message, _, mend = str(fault["ctx"]["error"]).partition("; ")
            return Fault(position, f"{shown}: {message}", mend)
        case "literal_error" | "enum":
            expected = str(fault["ctx"]["expected"])
            listed = " or a list" if len(place) < len(fault["loc"]) else ""
            return Fault(position, f"{shown}: {_value(fault)} is not known here", f"write {expected}{listed}")
        case "model_type" | "model_attributes_type" | "dict_type":
            return Fault(position, f"{shown} must hold keys and values", "write one `key: value` a line")
        case "tuple_type" | "list_type":
            return Fault(position, f"{shown} must be a list", f"write [{_value(fault)}]")
        case kind:
            message, mend = _of_value(kind, fault)
            return Fault(position, f"{shown}: {message}", mend)


_WRITTEN_LIKE = {
    "ip_v4_address": ("IPv4 address", "192.0.2.1"),
    "ip_v4_interface": ("IPv4 address with its prefix length", "192.0.2.2/30"),
    "ip_v6_network": ("IPv6 network", "64:ff9b::/96"),
    "path_type": ("path", "/etc/egress"),
    "string_type": ("text", "'text', in quotes"),
}


def _of_value(kind: str, fault: Any) -> tuple[str, str]:
    """Message and mend for a value of the wrong kind or size."""
    value, context = _value(fault), fault.get("ctx", {})
    match kind:
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{value} is no whole number", "write digits without quotes"
        case "bool_type" | "bool_parsing":
            return f"{value} is neither true nor false", "write true or false"
        case "greater_than_equal":
            return f"{value} is too small", f"write {context['ge']} or more"
        case "less_than_equal":
            return f"{value} is too large", f"write {context['le']} or less"
        case "string_pattern_mismatch":
            return f"{value} does not fit", f"write one that fits {context['pattern']}"
        case _ if kind in _WRITTEN_LIKE:
            what, example = _WRITTEN_LIKE[kind]
            return f"{value} is no {what}", f"write it like {example}"
        case _:
            return f"{value}: {fault['msg']}", "write another value"


def _value(fault: Any) -> str:
    return str(fault["input"])[:60]


def _dotted(place: tuple[str | int, ...]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _keys_mend(key: str, parent: tuple[str | int, ...], model: type[BaseModel]) -> str:
    at = _model_at(model, parent)
    known = [field.alias or name for name, field in at.model_fields.items()] if at else []
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"


def _model_at(model: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if current else None
        current = _model_in(field.annotation) if field else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
