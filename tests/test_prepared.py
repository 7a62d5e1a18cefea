"""What takes minutes on a bare machine and is then kept: made beside the tests that do not need it yet.

`conftest` puts this file first, so one worker makes it while the other begins with the lab. Nothing here may ask
the Docker engine: it refuses everybody while the lab's appliance is killed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.conftest import LAB, PREPARED, HostInOrder
from tests.lab import docker_release, sdk_images

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_the_engine_of_another_release_is_made_once(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = docker_release.tree(suite)
    assert (made / "usr/sbin/dockerd").is_file()
    never: Callable[..., Path] = lambda *_: pytest.fail("made twice")  # noqa: E731
    monkeypatch.setattr("tests.lab.debian._make", never)
    assert docker_release.tree(suite) == made


@pytest.mark.parametrize("image", [sdk_images.PYTHON, sdk_images.NODE], ids=lambda image: image.tag)
def test_the_packages_of_a_workload_are_installed_once(
    image: sdk_images.SdkImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = image.tree()
    assert any(made.iterdir())
    monkeypatch.setattr(sdk_images, "run", lambda *_, **__: pytest.fail("made twice"))
    assert image.tree() == made


def test_this_file_is_given_out_first_and_the_lab_second(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def give(scheduling: Any, node: object) -> None:
        given.append(scheduling.workqueue.popitem(last=False)[0])

    monkeypatch.setattr(
        LoadScopeScheduling, "_assign_work_unit", give
    )  # which must be there, under this name
    scheduling = HostInOrder.__new__(HostInOrder)
    scheduling.workqueue = OrderedDict.fromkeys(("unit", LAB, "fuzz", str(PREPARED)))
    for _ in range(4):
        scheduling._assign_work_unit(None)
    assert given == [str(PREPARED), LAB, "unit", "fuzz"]
