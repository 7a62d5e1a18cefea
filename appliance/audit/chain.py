"""The hash chain of one process's records: every record names the digest of the one before it.

A line is `BODY` with `,"hash":"<SHA-256 of BODY in hex>"` put in before its closing brace; `BODY` is the
record as compact ASCII JSON whose last fields are `sequence` and `prev`. The digest is over the bytes as
written, so nothing depends on how a reader would serialise the record again.

What it proves: a record changed, removed from the middle, inserted or moved breaks the chain at that line.
What it cannot prove alone: that the newest records were not cut off, or that the whole rest was not computed
anew; for that, keep the head (`egress --json log --verify` shows it) somewhere else and compare.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

_SUFFIX = re.compile(rb',"hash":"([0-9a-f]{64})"}\Z')


class Head(NamedTuple):
    """The newest record of a chain: its number (0: none yet) and digest (hex)."""

    sequence: int = 0
    digest: str = "0" * 64


class BrokenRecord(ValueError):
    """A line is no record whose digest matches; `str()` says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A line read back: the record with all its fields, the head it makes, the digest it follows."""

    record: dict[str, Any]
    head: Head
    previous: str

    def follows(self, head: Head) -> bool:
        """Whether it is the very next record after `head`."""
        return self.head.sequence == head.sequence + 1 and self.previous == head.digest


def seal_text(text: str, head: Head) -> tuple[bytes, Head]:
    """The line (with its newline) for a record after `head`, and the new head.

    `text` is the record's JSON without the closing brace (`appliance.audit.text`), and not empty.
    """
    sequence = head.sequence + 1
    body = f'{text},"sequence":{sequence},"prev":"{head.digest}"}}'.encode("ascii")
    digest = hashlib.sha256(body).hexdigest()
    return b'%s,"hash":"%s"}\n' % (body[:-1], digest.encode("ascii")), Head(sequence, digest)


def unseal(line: bytes) -> Sealed:
    """Read a line (without its newline) back. Raises `BrokenRecord`."""
    suffix = _SUFFIX.search(line)
    if suffix is None:
        raise BrokenRecord("not a complete record")
    body = line[: suffix.start()] + b"}"
    digest = hashlib.sha256(body).hexdigest()
    if digest != suffix.group(1).decode("ascii"):
        raise BrokenRecord("its digest does not match its content")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenRecord("no JSON, though its digest matches") from error
    # Whoever may write the file can compute a digest: nothing is taken to have the shape that we give it.
    match record:
        case {"sequence": int(sequence), "prev": str(previous)} if type(sequence) is int and sequence > 0:
            return Sealed(record, Head(sequence, digest), previous)
    raise BrokenRecord("no record of this log, though its digest matches")
