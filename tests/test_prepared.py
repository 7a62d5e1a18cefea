"""What takes minutes on a bare machine and is then kept: made beside the tests that do not need it yet.

`conftest` puts this file first, so one worker makes it while the other begins with the lab, which waits for what it
needs (`tests.lab.turn`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.verify.case import Image
from tests.lab import docker_release, sdk_images
from tests.lab.containers import IMAGES, build_images
from tests.lab.namespaces import run

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


def identifiers(*tags: str) -> list[str]:
    return [run("docker", "image", "inspect", "-f", "{{.Id}}", tag) for tag in tags]


def test_the_runner_images_are_made_once() -> None:
    build_images(lambda _line: None)
    made = identifiers(IMAGES[Image.PYTHON], IMAGES[Image.NODE])
    build_images(lambda _line: None)
    assert identifiers(IMAGES[Image.PYTHON], IMAGES[Image.NODE]) == made


def test_the_images_with_the_official_sdks_are_made_once() -> None:
    tags = [image.tag for image in (sdk_images.PYTHON, sdk_images.NODE)]
    sdk_images.build_sdk_images()
    made = identifiers(*tags)
    sdk_images.build_sdk_images()
    assert identifiers(*tags) == made


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_the_engine_of_another_release_is_made_once(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = docker_release.tree(suite)
    assert (made / "usr/sbin/dockerd").is_file()
    never: Callable[..., Path] = lambda *_: pytest.fail("made twice")  # noqa: E731
    monkeypatch.setattr("tests.lab.debian._make", never)
    assert docker_release.tree(suite) == made
