"""The integration definitions that there are: those that come with the appliance, and the operator's own."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from pathlib import Path

from appliance import yamldoc
from appliance.policy.compile_definition import Definition, compile_definition
from appliance.policy.definition import NAME, NAME_MEND
from appliance.policy.files import Naming, Readings, documents, fault, octets_of
from appliance.policy.problems import Problem
from appliance.stepwise import finish
from appliance.yamldoc import Document

SHIPPED = Path(__file__).parent / "integrations"
_INTEGRATION = Naming("integration name", NAME, NAME_MEND)
_read: dict[str, Definition] = {}


class Catalog(Mapping[str, Definition | None]):
    """By name; None: the definition has errors. One that comes with the appliance is read when it is used."""

    def __init__(self, own: Mapping[str, Definition | None] | None = None) -> None:
        self._own = dict(own or {})
        self._shipped = shipped_names()

    def __getitem__(self, name: str) -> Definition | None:
        finish(self.preparing(name))
        if name in self._own:
            return self._own[name]
        return _read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own, *self._shipped}))

    def __len__(self) -> int:
        return len({*self._own, *self._shipped})

    def is_own(self, name: str) -> bool:
        """Whether the definition is the operator's."""
        return name in self._own

    def preparing(self, name: object) -> Generator[None, None, None]:
        """Read the definition that is called so, if it comes with the appliance, in steps."""
        if not isinstance(name, str) or name in _read or name not in self._shipped:
            return
        file = SHIPPED / f"{name}.yaml"
        document = yield from yamldoc.loading(file.read_bytes(), str(file))
        definition, problems = compile_definition(document, name)
        if definition is None:
            raise AssertionError("\n".join(map(str, problems)))  # a fault of ours: the tests read every one
        _read[name] = definition


def shipped_names() -> frozenset[str]:
    """Names of the definitions that come with the appliance."""
    return frozenset(file.stem for file in SHIPPED.glob("*.yaml"))


def load_own(
    directory: Path, readings: Readings
) -> Generator[None, None, tuple[Catalog, bytes, list[Problem]]]:
    """The catalog with the operator's definitions of `directory`, their digest, and what is wrong there."""
    own: dict[str, Definition | None] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    shipped = shipped_names()
    for name, file in documents(directory, _INTEGRATION, problems):
        content = octets_of(file)
        digest.update(name.encode() + b"\0" + content.digest)
        if name in shipped:
            mend = "give yours another name: accounts must not change their meaning unnoticed"
            problems.append(fault(file, f"a definition {name!r} comes with the appliance", mend))
            continue
        own[name], faults = yield from readings.of(file, content, b"", partial(_making, name=name))
        problems += faults
    return Catalog(own), digest.digest(), problems


def _making(document: Document, name: str) -> Generator[None, None, tuple[Definition | None, list[Problem]]]:
    yield
    return compile_definition(document, name)
