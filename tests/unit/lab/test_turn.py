"""Who comes second waits, and goes on when the first has ended, however it ended."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.lab import turn as module
from tests.lab.turn import turn


def test_the_second_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCKS", tmp_path)
    order = []

    def second() -> None:
        with turn("a/b"):
            order.append("second")

    waiting = threading.Thread(target=second)
    with pytest.raises(ValueError, match="broke off"), turn("a/b"):
        waiting.start()
        waiting.join(0.2)
        with turn("another"):
            order.append("first")
        raise ValueError("broke off")
    waiting.join(10)
    assert order == ["first", "second"]


def test_who_waits_too_long_is_told_which_file_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCKS", tmp_path / "locks")
    with (
        turn("x"),
        pytest.raises(RuntimeError, match=r"mend: end who holds .*/locks/x\.lock"),
        turn("x", within=0.3),
    ):
        pass
