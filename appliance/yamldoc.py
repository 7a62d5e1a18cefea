"""YAML documents with the file, line and column of every value, for error messages that point.

YAML 1.2 from the events of ruamel's parser: the types of JSON and no tag for others, duplicate keys refused,
bounded size, depth and number of values, and no aliases: a few lines of them stand for gigabytes, or for a
document that contains itself. A long document can be read in steps, between which others have their turn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from appliance.explained import Explained
from appliance.stepwise import finish

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 250_000
EVENTS_IN_A_STEP = 25
LONG = 100_000  # bytes; to begin with more takes milliseconds
_TAG = "tag:yaml.org,2002:"
_MERGE, _STR = f"{_TAG}merge", f"{_TAG}str"
_COLLECTIONS = frozenset({None, "!", f"{_TAG}map", f"{_TAG}seq"})

Path_ = tuple[str | int, ...]


class YamlError(Explained, ValueError):
    """Not a readable YAML document; `str()` begins with file:line:column."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) and where each part stands: line and column."""

    data: Any
    positions: dict[Path_, tuple[int, int]]
    file: str

    def at(self, path: Path_) -> Position:
        """Position of the value at `path`, or of its nearest existing ancestor."""
        while path and path not in self.positions:
            path = path[:-1]
        return Position(self.file, *self.positions.get(path, (1, 1)))


def load(path: Path) -> Document:
    """Read one document from a file. Raises `YamlError` (also for an unreadable file)."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise YamlError(f"{path}:1:1: cannot be read: {error.strerror}") from error
    return loads(raw, str(path))


def loads(raw: bytes, file: str) -> Document:
    """Read one document from bytes; `file` names the source in positions. Raises `YamlError`."""
    return finish(loading(raw, file))


def loading(raw: bytes, file: str) -> Generator[None, None, Document]:
    """The same in steps of a few milliseconds at most, so that others have their turn."""
    if len(raw) > MAX_BYTES:
        raise YamlError(f"{file}:1:1: larger than {MAX_BYTES} bytes")
    if len(raw) > LONG:
        yield
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{file}:1:1: not UTF-8 (byte {error.start})") from error
    try:
        reading = _Reading(text, file)
        if len(raw) > LONG:
            yield
        return (yield from reading.steps())
    except YamlError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"{file}:{line}:{column}: {error.problem or error.context}") from error
    except Exception as error:
        # Hostile text makes ruamel raise what it does not declare, AssertionError among others.
        raise YamlError(f"{file}:1:1: {type(error).__name__}: not usable as YAML") from error


class _Frame:
    """A mapping or sequence that has begun. In a mapping `key` waits for its value, or is None."""

    __slots__ = ("key", "made", "place")

    def __init__(self, made: dict[Any, Any] | list[Any], place: Path_) -> None:
        self.made = made
        self.place = place
        self.key: tuple[Any, str] | None = None


class _Reading:
    """One document, made of its parser's events as they come."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        yaml = YAML(typ="safe", pure=True)
        make, self._parser = yaml.get_constructor_parser(io.StringIO(text))
        self._resolve = make.resolver.resolve
        self._scalars: dict[str, Callable[[ScalarNode], Any]] = {
            f"{_TAG}null": make.construct_yaml_null, f"{_TAG}bool": make.construct_yaml_bool,
            f"{_TAG}int": make.construct_yaml_int, f"{_TAG}float": make.construct_yaml_float,
        }  # fmt: skip
        self._positions: dict[Path_, tuple[int, int]] = {}
        self._open: list[_Frame] = []
        self._data: Any = None
        self._values = 0

    def steps(self) -> Generator[None, None, Document]:
        begun = False
        for number in count(1):
            if not self._parser.check_event():
                break
            event = self._parser.get_event()
            if number % EVENTS_IN_A_STEP == 0:
                yield
            if isinstance(event, ScalarEvent):
                self._scalar(event)
            elif isinstance(event, MappingStartEvent | SequenceStartEvent):
                self._begin(event)
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                self._open.pop()
            elif isinstance(event, AliasEvent):
                raise self._fault(event, "anchors and aliases ('&', '*') are not read; write the value out")
            elif isinstance(event, DocumentStartEvent):
                if begun:
                    raise self._fault(event, "but found another document; write one only")
                begun = True
        return Document(self._data, self._positions, self._file)

    def _fault(self, event: Any, why: str) -> YamlError:
        return YamlError(f"{Position(self._file, *_where(event))}: {why}")

    def _foreign(self, event: Any) -> YamlError:
        return self._fault(event, f"could not determine a constructor for the tag {event.tag!r}; remove it")

    def _awaits_key(self) -> _Frame | None:
        frame = self._open[-1] if self._open else None
        return frame if frame is not None and frame.key is None and isinstance(frame.made, dict) else None

    def _begin(self, event: Any) -> None:
        if self._awaits_key() is not None:
            raise self._fault(event, "a key is plain text, without an anchor")
        if event.tag not in _COLLECTIONS:
            raise self._fault(
                event, f"could not determine a constructor for the tag {event.tag!r}; remove it"
            )
        made: dict[Any, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        self._open.append(_Frame(made, self._put(event, made)))

    def _scalar(self, event: Any) -> None:
        tag = event.tag
        if tag is None or tag == "!":
            tag = str(self._resolve(ScalarNode, event.value, event.implicit))
        frame = self._awaits_key()
        if frame is None:
            self._put(event, self._value(event, tag))
            return
        if event.anchor is not None:
            raise self._fault(event, "a key is plain text, without an anchor")
        if tag == _MERGE:
            raise self._fault(event, "merge keys ('<<'), anchors and aliases are not read; write it out")
        key = self._value(event, tag)
        if key in frame.made:
            raise self._fault(event, f"found duplicate key {key!r}; keep one")
        text = str(event.value)
        frame.key = key, text
        # The better pointer for "unknown key" than its value's.
        self._positions[(*frame.place, text)] = _where(event)

    def _value(self, event: Any, tag: str) -> Any:
        if tag == _STR:
            return event.value
        make = self._scalars.get(tag)
        if make is not None:
            return make(ScalarNode(tag, event.value, event.start_mark, event.end_mark))
        if event.tag is None:
            return event.value  # a date, or another type that JSON has not
        raise self._foreign(event)

    def _put(self, event: Any, value: Any) -> Path_:
        """Where `value` belongs, and put it there."""
        if event.anchor is not None:
            raise self._fault(event, "anchors and aliases ('&', '*') are not read; write the value out")
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._fault(event, f"more than {MAX_VALUES} values; make several documents of it")
        if not self._open:
            self._data = value
            place: Path_ = ()
        else:
            frame = self._open[-1]
            made = frame.made
            if isinstance(made, list):
                place = (*frame.place, len(made))
                made.append(value)
            else:
                assert frame.key is not None
                (key, text), frame.key = frame.key, None
                made[key] = value
                place = (*frame.place, text)
        if len(place) > MAX_DEPTH:
            raise self._fault(event, f"nested deeper than {MAX_DEPTH}")
        self._positions.setdefault(place, _where(event))
        return place


def _where(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
