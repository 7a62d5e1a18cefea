"""What would be wrong if a document stood in another place: all of them are loaded as they would be then."""

from __future__ import annotations

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
    """What `file` in `place` would bring about, and is not so already.

    `place` is a document's below the instance's `config_dir`, there or not. Raises `Failure` for another.
    """
    place = place.absolute()
    if not _is_a_document(settings, place):
        raise Failure(
            f"--as {place}: no document of this instance; name {settings.operator_file}, "
            f"{settings.accounts_file}, or a .yaml in {settings.tenants_dir}, {settings.policies_dir} "
            f"or {settings.integrations_dir}",
            exit_code=2,
        )
    with tempfile.TemporaryDirectory(prefix="egress-policy-") as folder:
        draft = settings.model_copy(update={"config_dir": Path(folder)})
        for document in _documents(settings):
            _copy(document, Path(folder) / document.relative_to(settings.config_dir))
        before = _loaded(draft, settings, {})
        there = Path(folder) / place.relative_to(settings.config_dir)
        _copy(file, there)
        after = _loaded(draft, settings, {str(there): str(file)})
    known = {(p.position, p.message) for p in before}
    return [p for p in after if (p.position, p.message) not in known]


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


def _copy(file: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(file.read_bytes())


def _loaded(draft: Settings, settings: Settings, shown: dict[str, str]) -> list[Problem]:
    """Problems of all documents, each told of its own place, or of the one in `shown`."""
    loaded = finish(loading(draft, Readings(), None)).problems
    found = dict.fromkeys((*loaded, *load_catalog(draft)[1]))  # without accounts nobody reads definitions
    there, here = str(draft.config_dir), str(settings.config_dir)
    return [
        replace(
            problem,
            position=replace(
                problem.position,
                file=shown.get(problem.position.file, problem.position.file.replace(there, here)),
            ),
            message=problem.message.replace(there, here),
            mend=problem.mend.replace(there, here),
        )
        for problem in found
    ]
