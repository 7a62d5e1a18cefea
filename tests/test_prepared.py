"""What takes minutes on a bare machine and is then kept: made beside the tests that do not need it yet.

`conftest` puts this file first, so one worker makes it while the other begins with the lab. Nothing here may ask
the Docker engine: it refuses everybody while the lab's appliance is killed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import docker_release

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_the_engine_of_another_release_is_made_once(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = docker_release.tree(suite)
    assert (made / "usr/sbin/dockerd").is_file()
    never: Callable[..., Path] = lambda *_: pytest.fail("made twice")  # noqa: E731
    monkeypatch.setattr("tests.lab.debian._make", never)
    assert docker_release.tree(suite) == made
