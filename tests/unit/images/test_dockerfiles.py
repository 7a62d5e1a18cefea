"""The Dockerfiles say the same as the recipes: same packages, account, environment, entry point."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from recipes import RECIPES

IMAGES = Path(__file__).resolve().parents[3] / "images"


def instructions(name: str) -> dict[str, list[str]]:
    text = (IMAGES / f"Dockerfile.{name}").read_text().replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(rest)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_same_image(name: str) -> None:
    recipe, file = RECIPES[name], instructions(name)
    (script,) = file["RUN"]
    installed = script.partition("--no-install-recommends")[2].partition("&&")[0].split()
    assert tuple(installed) == recipe.packages
    (environment,) = file["ENV"]
    assert dict(pair.split("=", 1) for pair in shlex.split(environment)) == dict(recipe.environment)
    assert "-perm /6000" in script
    changes = recipe.changes("")
    for word in ("USER", "WORKDIR", "ENTRYPOINT", "CMD"):
        assert f"{word} {file[word][0]}" in changes


@pytest.mark.parametrize("name", RECIPES)
def test_the_entry_point_can_be_run(name: str) -> None:
    assert (IMAGES / "entrypoint").stat().st_mode & 0o111 == 0o111
    assert "COPY" in instructions(name)
