"""Reads the lines of an audit file that a process of another uid, perhaps taken over, owns."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE = 1024 * 1024
"""Octets after which a line is given up in pieces; ours are far shorter."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its newline, and where it stands (`number` counts from 1)."""

    file: str
    number: int
    content: bytes
    terminated: bool


def open_audit_file(path: Path) -> BinaryIO:
    """Open for reading only if it is a regular file and no link. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: not a regular file")
    return os.fdopen(descriptor, "rb")


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of the file; the last one may be unterminated. Raises `OSError`."""
    with open_audit_file(path) as stream:
        number = 0
        while raw := stream.readline(MAX_LINE):
            number += 1
            terminated = raw.endswith(b"\n")
            yield Line(path.name, number, raw[:-1] if terminated else raw, terminated)
