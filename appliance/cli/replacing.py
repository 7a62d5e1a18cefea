"""What would be wrong if a document stood in another place: all of them are loaded as they would be then."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.failures import Failure
from appliance.policy.loader import Readings, load_catalog, loading
from appliance.policy.problems import Problem
from appliance.stepwise import finish

if TYPE_CHECKING:
    from appliance.settings import Settings


def problems_of(settings: Settings, file: Path, place: Path) -> list[Problem]:
    """What is wrong with `file` in `place`, and what it would bring about in others and is not so already.

    `place` is a document's below the instance's `config_dir`, there or not. Raises `Failure` for another.
    """
    return _brought_about(settings, {place: file.read_bytes()}, {str(place.absolute()): str(file)})


def problems_together(settings: Settings, file: Path) -> list[Problem]:
    """The same of several documents at once. A line of `file`: PLACE, and the text as a JSON string.

    Raises `Failure` for a line that is none, and for a place that is no document's.
    """
    texts: dict[Path, bytes] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        place, _, text = line.strip().partition(" ")
        if not place:
            continue
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, str):
            raise Failure(f'{file}:{number}: no PLACE "TEXT"; write the text as a JSON string', exit_code=2)
        texts[Path(place)] = content.encode()
    return _brought_about(settings, texts, {})


def problems_there(settings: Settings) -> list[Problem]:
    """What is wrong with the documents as they stand, all of them."""
    return _loaded(settings, settings)


def _brought_about(settings: Settings, texts: dict[Path, bytes], shown: dict[str, str]) -> list[Problem]:
    """`shown` has the names under which places are told of, where these are others."""
    for place in texts:
        if not _is_a_document(settings, place.absolute()):
            raise Failure(
                f"{place.absolute()}: no document of this instance; name {settings.operator_file}, "
                f"{settings.accounts_file}, or a .yaml in {settings.tenants_dir}, {settings.policies_dir} "
                f"or {settings.integrations_dir}",
                exit_code=2,
            )
    with tempfile.TemporaryDirectory(prefix="egress-policy-") as folder:
        draft = settings.model_copy(update={"config_dir": Path(folder)})
        for document in _documents(settings):
            _write(document.read_bytes(), _inside(folder, settings, document))
        before = _loaded(draft, settings)
        for place, text in texts.items():
            _write(text, _inside(folder, settings, place))
        after = _loaded(draft, settings)
    replaced = {str(place.absolute()) for place in texts}  # of these all is told: who writes one mends it
    known = {(p.position, p.message) for p in before if p.position.file not in replaced}
    return [_told(p, shown) for p in after if (p.position, p.message) not in known]


def _told(problem: Problem, shown: dict[str, str]) -> Problem:
    file = problem.position.file
    return replace(problem, position=replace(problem.position, file=shown.get(file, file)))


def _inside(folder: str, settings: Settings, place: Path) -> Path:
    return Path(folder) / place.absolute().relative_to(settings.config_dir)


def _documents(settings: Settings) -> list[Path]:
    folders = (settings.tenants_dir, settings.policies_dir, settings.integrations_dir)
    single = (settings.operator_file, settings.accounts_file)
    found = [*single, *(file for folder in folders for file in sorted(folder.glob("*.yaml")))]
    return [file for file in found if file.is_file()]


def _is_a_document(settings: Settings, place: Path) -> bool:
    folders = (settings.tenants_dir, settings.policies_dir, settings.integrations_dir)
    return place in (settings.operator_file, settings.accounts_file) or (
        place.parent in folders and place.suffix == ".yaml"
    )


def _write(text: bytes, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(text)


def _loaded(draft: Settings, settings: Settings) -> list[Problem]:
    """Problems of all documents, each told of its own place."""
    loaded = finish(loading(draft, Readings(), None)).problems
    found = dict.fromkeys((*loaded, *load_catalog(draft)[1]))  # without accounts nobody reads definitions
    there, here = str(draft.config_dir), str(settings.config_dir)
    return [
        replace(
            problem,
            position=replace(problem.position, file=problem.position.file.replace(there, here)),
            message=problem.message.replace(there, here),
            mend=problem.mend.replace(there, here),
        )
        for problem in found
    ]
