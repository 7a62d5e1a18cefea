"""What cannot be read is an error; a real namespace's number is in the system tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from netns.driver.generation import generation


def test_a_sandbox_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        generation(tmp_path / "none")


def test_a_file_that_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="setns"):
        generation(tmp_path / "file")
