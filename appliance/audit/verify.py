"""Checks a process's chain of files from the first record to the last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.chain import BrokenRecord, Head, unseal
from appliance.audit.lines import Line, read_lines
from appliance.audit.tail import is_mark_of


@dataclass(frozen=True, slots=True)
class Break:
    """A place (`file:line`, counted from 1) and what is wrong there."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a chain proves.

    `records` good ones were read from number `first` (0: none) to `head`; a `first` above 1 means that older
    files are no longer kept. `broken` is the first record that does not follow, None when all do. `marked`
    are lines cut short by a crash, noticed at the next start and marked then. `unfinished`: the newest line
    has no end yet, because it is being written or was cut by a crash after which nothing was written.
    """

    records: int
    first: int
    head: Head
    broken: Break | None
    marked: tuple[Break, ...]
    unfinished: bool

    @property
    def intact(self) -> bool:
        """Whether every record is as it was written, as far as a chain can tell."""
        return self.broken is None


def verify(files: Sequence[Path]) -> Report:
    """Read the files of one process, oldest first (see `place.chain_files`). Raises `OSError`."""
    return verify_lines(line for file in files for line in read_lines(file))


def verify_lines(lines: Iterable[Line]) -> Report:
    """Check lines already read."""
    records = first = 0
    head: Head | None = None
    damaged: list[Line] = []
    marked: list[Break] = []
    problem = ""

    def report(broken: Break | None, *, unfinished: bool = False) -> Report:
        return Report(records, first, head or Head(), broken, tuple(marked), unfinished)

    for line in lines:
        try:
            sealed = unseal(line.content)
        except BrokenRecord as error:
            problem = problem or str(error)
            damaged.append(line)
            continue
        if damaged:
            place = Break(damaged[0].file, damaged[0].number, problem)
            if not is_mark_of(sealed.record, b"\n".join(each.content for each in damaged)):
                return report(place)
            marked.append(place)
            damaged, problem = [], ""
        if head is None:
            first = sealed.head.sequence
            if first == 1 and sealed.previous != Head().digest:
                return report(Break(line.file, line.number, "claims to be the first record and is not"))
        elif not sealed.follows(head):
            what = f"record {sealed.head.sequence} does not follow record {head.sequence}"
            return report(Break(line.file, line.number, what))
        head = sealed.head
        records += 1
    if len(damaged) == 1 and not damaged[0].terminated:
        return report(None, unfinished=True)
    if damaged:
        return report(Break(damaged[0].file, damaged[0].number, problem))
    return report(None)
