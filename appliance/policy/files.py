"""Policy documents' files: found, read with care, and not read again while they are as they were."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from appliance import yamldoc
from appliance.policy.problems import Problem
from appliance.stepwise import letting_go
from appliance.yamldoc import MAX_BYTES, Document, Position, YamlError

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Naming:
    """What the documents of a directory may be called."""

    what: str
    grammar: re.Pattern[str]
    mend: str


@dataclass(frozen=True, slots=True)
class Content:
    """One file's octets and their digest; `raw` None: they cannot be used, `problems` say why."""

    raw: bytes | None
    digest: bytes
    problems: tuple[Problem, ...]


Found = tuple[_Made | None, list[Problem]]
"""What was made of a document, None where it has errors; with its errors and warnings."""
Making = Callable[[Document], Generator[None, None, Found[_Made]]]
"""Makes something of a document, in steps."""


class Readings:
    """What was made of documents, by all that went into it: one that has not changed is not read again."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[bytes, Found[Any]]] = {}
        self._used: dict[Path, tuple[bytes, Found[Any]]] = {}

    def of(
        self, file: Path, content: Content, also: bytes, make: Making[_Made]
    ) -> Generator[None, None, Found[_Made]]:
        """What `make` makes of the document in `file`, in steps. `also`: digest of whatever else it takes."""
        key = content.digest + also
        known = self._known.get(file)
        if known is None or known[0] != key or content.raw is None:
            known = key, (yield from making(file, content, make))
        self._used[file] = known
        made, problems = known[1]
        return made, list(problems)

    def turn(self) -> None:
        """A round is over: what it did not ask for is forgotten."""
        self._known, self._used = self._used, {}


def making(file: Path, content: Content, make: Making[_Made]) -> Generator[None, None, Found[_Made]]:
    """What `make` makes of a document, with the problems of reading it; in steps."""
    document, problems = yield from parsing(file, content)
    if document is None:
        return None, problems
    made, faults = yield from make(document)
    yield from letting_go(document.positions)
    if isinstance(document.data, dict):
        for part in document.data.values():
            if isinstance(part, list):
                yield from letting_go(part)
    return made, problems + faults


def documents(directory: Path, naming: Naming, problems: list[Problem]) -> list[tuple[str, Path]]:
    """(name, file) of every document, in order; hidden files and other endings are somebody else's."""
    try:
        files = sorted(f for f in directory.iterdir() if f.suffix == ".yaml" and not f.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(fault(directory, f"cannot be listed: {error.strerror}", "mend its owner and mode"))
        return []
    good = []
    for file in files:
        if naming.grammar.fullmatch(file.stem):
            good.append((file.stem, file))
        else:
            problems.append(fault(file, f"{file.stem!r} is no {naming.what}", f"rename it: {naming.mend}"))
    return good


def octets_of(file: Path) -> Content:
    """What is in a file that nobody but its owner may change; never raises."""
    try:
        # Non-blocking: a FIFO in a file's place must not stop the service.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            raw = stream.read(MAX_BYTES + 1) if stat.S_ISREG(mode) else None
    except OSError as error:
        return _unusable(file, f"cannot be read: {error.strerror}", "mend its owner and mode")
    if raw is None:
        return _unusable(file, "is no regular file", "put the document itself there")
    if mode & stat.S_IWOTH:
        shown = f"{stat.S_IMODE(mode):04o}"
        return _unusable(file, f"everybody may write it (mode {shown})", f"chmod o-w {file}")
    return Content(raw, hashlib.sha256(raw).digest(), ())


def _unusable(file: Path, message: str, mend: str) -> Content:
    return Content(None, b"", (fault(file, message, mend),))


def parsing(file: Path, content: Content) -> Generator[None, None, tuple[Document | None, list[Problem]]]:
    """The content as a document, or None and why it is none; in steps."""
    problems = list(content.problems)
    if content.raw is None:
        return None, problems
    try:
        return (yield from yamldoc.loading(content.raw, str(file))), problems
    except YamlError as error:
        return None, [*problems, yaml_problem(file, str(error))]


def yaml_problem(file: Path, text: str) -> Problem:
    """`file:line:column: message` taken apart again."""
    line, _, rest = text.removeprefix(f"{file}:").partition(":")
    column, _, said = rest.partition(": ")
    message, _, mend = said.partition("; ")
    return Problem(Position(str(file), int(line), int(column)), message, mend or "write valid YAML 1.2")


def fault(file: Path, message: str, mend: str) -> Problem:
    """A problem of a file as a whole."""
    return Problem(Position(str(file), 1, 1), message, mend)
