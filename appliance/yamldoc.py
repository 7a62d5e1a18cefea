"""YAML documents with the file, line and column of every value, for error messages that point.

YAML 1.2 by ruamel's safe loader: no tags that construct objects, duplicate keys refused, bounded size and
depth, and no aliases: a few lines of them stand for gigabytes, or for a document that contains itself.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
_MERGE = "tag:yaml.org,2002:merge"

Path_ = tuple[str | int, ...]


class YamlError(ValueError):
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
    """Plain data (dict, list, str, int, float, bool, None) and where each part stands."""

    data: Any
    positions: dict[Path_, Position]
    file: str

    def at(self, path: Path_) -> Position:
        """Position of the value at `path`, or of its nearest existing ancestor."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(self.file, 1, 1))


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
    if len(raw) > MAX_BYTES:
        raise YamlError(f"{file}:1:1: larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{file}:1:1: not UTF-8 (byte {error.start})") from error
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = False
    positions: dict[Path_, Position] = {}
    try:
        node = yaml.compose(io.StringIO(text))
        if node is not None:
            _locate(node, (), file, positions)
        data = yaml.load(io.StringIO(text))
    except YamlError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"{file}:{line}:{column}: {error.problem or error.context}") from error
    except Exception as error:
        # Hostile text makes ruamel raise what it does not declare, AssertionError among others.
        raise YamlError(f"{file}:1:1: {type(error).__name__}: not usable as YAML") from error
    return Document(data, positions, file)


def _locate(node: Node, path: Path_, file: str, positions: dict[Path_, Position]) -> None:
    stack: list[tuple[Node, Path_]] = [(node, path)]
    seen: set[int] = set()
    while stack:
        current, place = stack.pop()
        mark = current.start_mark
        where = Position(file, mark.line + 1, mark.column + 1)
        if id(current) in seen or current.anchor is not None:
            raise YamlError(f"{where}: anchors and aliases ('&', '*') are not read; write the value out")
        if len(place) > MAX_DEPTH:
            raise YamlError(f"{where}: nested deeper than {MAX_DEPTH}")
        seen.add(id(current))
        positions.setdefault(place, where)
        if isinstance(current, MappingNode):
            for key, value in current.value:
                here = Position(file, key.start_mark.line + 1, key.start_mark.column + 1)
                if not isinstance(key, ScalarNode) or key.anchor is not None:
                    raise YamlError(f"{here}: a key is plain text, without an anchor")
                if key.tag == _MERGE:
                    raise YamlError(
                        f"{here}: merge keys ('<<'), anchors and aliases are not read; write it out"
                    )
                below = (*place, str(key.value))
                positions[below] = here  # the better pointer for "unknown key" than its value's
                stack.append((value, below))
        elif isinstance(current, SequenceNode):
            stack.extend((item, (*place, index)) for index, item in enumerate(current.value))
