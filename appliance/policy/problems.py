"""What is wrong with a policy document, where, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.explained import Explained
from appliance.yamldoc import Position


class Severity(StrEnum):
    """An error keeps the document from being used; a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault at one place. `str()` is a line for a terminal."""

    position: Position
    message: str
    mend: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        kind = "" if self.severity is Severity.ERROR else "warning: "
        return f"{self.position}: {kind}{self.message}" + (f"; {self.mend}" if self.mend else "")


class PolicyError(Explained, ValueError):
    """Documents that cannot be enforced; `problems` says why, `str()` is one line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Only those that keep a document from being used."""
    return [p for p in problems if p.severity is Severity.ERROR]
