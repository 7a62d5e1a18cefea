"""JSON as dockerd's decoder understands it, read so that two readings are impossible.

Go's encoding/json matches an object's keys to a struct's fields without regard to case (with Unicode folding,
so that U+017F is an `s`), lets the last duplicate win, and ignores what it does not know. Whoever reads
`Privileged` by its exact name has read something else than dockerd will. So: a key that is not ASCII, and a
key that comes twice in any spelling, is refused. Free maps (labels) keep their keys as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

T = TypeVar("T", str, bool, int)

MAX_BODY = 1024 * 1024  # Docker's authorization plugins are shown no larger body


class UnclearBody(ValueError):
    """Not JSON that can be read in one way only; `str()` names the place."""


class Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object with its keys as they came."""

    __slots__ = ()


def read_object(body: bytes) -> Struct:
    """The body of an API call. Raises `UnclearBody`.

    Stricter than Go: exactly one value and nothing after it, UTF-8 without replacement, no lone surrogate.
    """
    if not body.strip(b" \t\r\n"):
        raise UnclearBody("it is empty, or larger than the 1 MiB that dockerd shows us")
    if len(body) > MAX_BODY:
        raise UnclearBody("it is larger than 1 MiB")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=Pairs, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise UnclearBody(f"it is no JSON document ({type(error).__name__})") from error
    if not isinstance(value, Pairs):
        raise UnclearBody("it is no JSON object")
    return Struct.of(value, "")


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def is_set(value: Any) -> bool:
    """Whether a value differs from Go's zero value of its type."""
    return value is not None and value is not False and value not in ("", 0, [], {}, ())


@dataclass(frozen=True, slots=True)
class Struct:
    """An object that Go decodes into a struct: fields by folded name. Accessors raise `UnclearBody`."""

    path: str
    fields: Mapping[str, tuple[str, Any]]

    @classmethod
    def of(cls, value: Any, path: str) -> Self:
        """From a decoded object, ours (`Pairs`) or the engine's own (`dict`)."""
        fields: dict[str, tuple[str, Any]] = {}
        for key, entry in _items(value, path):
            if not key.isascii():
                raise UnclearBody(f"{path or 'the document'} has a key that is not ASCII")
            folded = key.lower()
            if folded in fields:
                raise UnclearBody(f"{path}{key} is given twice")
            fields[folded] = (key, entry)
        return cls(path, fields)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.fields.values())

    def get(self, name: str) -> Any:
        """The raw value; absent and null are both None, as in Go."""
        return self.fields.get(name.lower(), (name, None))[1]

    def text(self, name: str) -> str:
        """A string, by default empty."""
        return self._typed(name, str, "")

    def flag(self, name: str) -> bool:
        """A boolean, by default false."""
        return self._typed(name, bool, False)

    def integer(self, name: str) -> int:
        """An integer, by default 0."""
        value = self.get(name)
        if isinstance(value, bool):
            raise UnclearBody(f"{self.path}{name} is no integer")
        return self._typed(name, int, 0)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; a lone string stands for a list of one (Docker's `strslice`)."""
        value = self.get(name)
        if value is None:
            return ()
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(entry, str) for entry in values):
            raise UnclearBody(f"{self.path}{name} is no list of strings")
        return tuple(values)

    def struct(self, name: str) -> Struct | None:
        """A nested struct, if there is one."""
        value = self.get(name)
        return None if value is None else Struct.of(value, f"{self.path}{name}.")

    def structs(self, name: str) -> tuple[Struct, ...]:
        """A list of structs; a null among them is an empty one, as in Go."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise UnclearBody(f"{self.path}{name} is no list")
        return tuple(
            Struct.of(Pairs() if entry is None else entry, f"{self.path}{name}[{index}].")
            for index, entry in enumerate(value)
        )

    def mapping(self, name: str) -> dict[str, Any]:
        """A free map, whose keys keep their case; a key that comes twice is refused."""
        value = self.get(name)
        found: dict[str, Any] = {}
        if value is None:
            return found
        for key, entry in _items(value, f"{self.path}{name}"):
            if key in found:
                raise UnclearBody(f"{self.path}{name}: {key!r} is given twice")
            found[key] = entry
        return found

    def _typed(self, name: str, kind: type[T], default: T) -> T:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise UnclearBody(f"{self.path}{name} is no {kind.__name__}")
        return value


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, Pairs):
        return list(value)
    if isinstance(value, dict):
        return list(value.items())
    raise UnclearBody(f"{path or 'the document'} is no object")
