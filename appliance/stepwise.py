"""Long work as a generator that yields between its steps: a reactor does other things meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def finish(work: Generator[None, None, Result]) -> Result:
    """All steps at once. Returns, or raises, what the work does."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: Result = done.value
            return result
