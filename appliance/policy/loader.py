"""Policy documents from disk, and the set that they make. What a running process keeps is `store`'s."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from appliance import yamldoc
from appliance.policy.compile import (
    OperatorLayer,
    TenantLayer,
    compiling_named,
    compiling_operator,
    compiling_tenant,
)
from appliance.policy.compile_rule import Entry
from appliance.policy.documents import POLICY_NAME, POLICY_NAME_MEND
from appliance.policy.problems import PolicyError, Problem, Severity, errors
from appliance.policy.rules import RuleIndex
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy
from appliance.settings import Settings
from appliance.stepwise import finish, letting_go
from appliance.workload import TENANT_NAME, TENANT_NAME_MEND
from appliance.yamldoc import MAX_BYTES, Document, Position, YamlError

__all__ = [
    "Kept",
    "Loaded",
    "PolicyError",
    "Problem",
    "Readings",
    "assemble",
    "check_tenant_file",
    "check_tenant_text",
    "load_operator_exceptions",
    "load_policy_set",
    "loading",
]

TENANTS_IN_A_STEP = 5

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class _Naming:
    """What the documents of a directory may be called."""

    what: str
    grammar: re.Pattern[str]
    mend: str


_TENANT = _Naming("tenant name", TENANT_NAME, TENANT_NAME_MEND)
_POLICY = _Naming("policy name", POLICY_NAME, POLICY_NAME_MEND)


@dataclass(frozen=True, slots=True)
class _Content:
    """One file's octets and their digest; `raw` None: they cannot be used, `problems` say why."""

    raw: bytes | None
    digest: bytes
    problems: tuple[Problem, ...]


_Found = tuple[_Made | None, list[Problem]]
"""What was made of a document, None where it has errors; with its errors and warnings."""
_Making = Callable[[Document], Generator[None, None, _Found[_Made]]]


class Readings:
    """What was made of documents, by all that went into it: one that has not changed is not read again."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[bytes, _Found[Any]]] = {}
        self._used: dict[Path, tuple[bytes, _Found[Any]]] = {}

    def of(
        self, file: Path, content: _Content, also: bytes, make: _Making[_Made]
    ) -> Generator[None, None, _Found[_Made]]:
        """What `make` makes of the document in `file`, in steps. `also`: digest of whatever else it takes."""
        key = content.digest + also
        known = self._known.get(file)
        if known is None or known[0] != key or content.raw is None:
            known = key, (yield from _making(file, content, make))
        self._used[file] = known
        made, problems = known[1]
        return made, list(problems)

    def turn(self) -> None:
        """A round is over: what it did not ask for is forgotten."""
        self._known, self._used = self._used, {}


def _making(file: Path, content: _Content, make: _Making[_Made]) -> Generator[None, None, _Found[_Made]]:
    document, problems = yield from _parsing(file, content)
    if document is None:
        return None, problems
    made, faults = yield from make(document)
    yield from letting_go(document.positions)
    if isinstance(document.data, dict):
        for part in document.data.values():
            if isinstance(part, list):
                yield from letting_go(part)
    return made, problems + faults


@dataclass(frozen=True, slots=True)
class Kept:
    """A tenant's last good layer and the digest of all that went into it."""

    layer: TenantLayer
    digest: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything of one reading. `operator` None: operator.yaml has errors."""

    operator: tuple[OperatorLayer, bytes] | None
    tenants: Mapping[str, Kept | None]
    problems: tuple[Problem, ...]


def load_policy_set(settings: Settings) -> PolicySet:
    """Every tenant's policy, all documents free of errors. Raises `PolicyError`."""
    loaded = finish(loading(settings, Readings(), None))
    if errors(loaded.problems) or loaded.operator is None:
        raise PolicyError(errors(loaded.problems))
    tenants = {name: kept for name, kept in loaded.tenants.items() if kept is not None}
    return finish(assemble(settings, loaded.operator, tenants, PolicySet()))


def check_tenant_file(settings: Settings, file: Path, least: Severity = Severity.ERROR) -> list[Problem]:
    """What is wrong with `file` as the policy of the tenant that it is named after (`acme.yaml…`).

    With `least` WARNING the warnings, too. Raises `PolicyError` when operator.yaml has errors.
    """
    found = _judged(settings, file, _content(file), file.name.partition(".")[0])
    return found if least is Severity.WARNING else errors(found)


def check_tenant_text(settings: Settings, raw: bytes, shown: str, tenant: str) -> list[Problem]:
    """Errors of a document that is not in its place yet, `shown` naming it in positions.

    Raises `PolicyError` when operator.yaml has errors.
    """
    return errors(_judged(settings, Path(shown), _Content(raw, b"", ()), tenant))


def load_operator_exceptions(settings: Settings) -> tuple[tuple[IPv4Network, int], ...]:
    """Destinations in private ranges that the operator lets through, whichever tenant may use them.

    Reads operator.yaml alone: its caller is privileged and parses no word of a tenant. Raises `PolicyError`.
    """
    operator, _, problems = finish(_operator(settings, Readings(), None))
    if operator is None:
        raise PolicyError(errors(problems))
    return tuple(sorted({(e.network, e.port) for _tenant, e in operator.exceptions}))


def _judged(settings: Settings, file: Path, content: _Content, tenant: str) -> list[Problem]:
    operator, _, problems = finish(_operator(settings, Readings(), None))
    if operator is None:
        raise PolicyError(errors(problems))
    named, _, _ = finish(_named(settings, Readings()))
    _, found = finish(
        _making(file, content, lambda document: compiling_tenant(document, tenant, operator, named))
    )
    return found


def loading(
    settings: Settings, readings: Readings, last_operator: tuple[OperatorLayer, bytes] | None
) -> Generator[None, None, Loaded]:
    """Read every document that differs from what `readings` know, in steps."""
    operator, digest, problems = yield from _operator(settings, readings, last_operator)
    if operator is None:
        return Loaded(None, {}, tuple(problems))
    named, named_digest, faults = yield from _named(settings, readings)
    problems += faults
    tenants: dict[str, Kept | None] = {}
    for name, file in _documents(settings.tenants_dir, _TENANT, problems):
        content = _content(file)
        make = partial(compiling_tenant, tenant=name, operator=operator, named=named)
        layer, faults = yield from readings.of(file, content, digest + named_digest, make)
        problems += faults
        own = hashlib.sha256(content.digest + named_digest).digest()
        tenants[name] = None if layer is None else Kept(layer, own)
    readings.turn()
    problems += _strangers(settings, operator, tenants)
    return Loaded((operator, digest), tenants, tuple(problems))


def _operator(
    settings: Settings, readings: Readings, last: tuple[OperatorLayer, bytes] | None
) -> Generator[None, None, tuple[OperatorLayer | None, bytes, list[Problem]]]:
    file = settings.operator_file
    if not os.path.lexists(file):
        if last is None or last[0] == OperatorLayer():
            return OperatorLayer(), b"", []
        # Gone is not the same as empty: what it denied stays denied until somebody says otherwise.
        mend = "put it back, or write {} into it to have none of its rules"
        return (*last, [_fault(file, "is gone; its last good rules stay in force", mend)])
    content = _content(file)
    own_networks = (settings.uplink.address.network,)
    make = partial(compiling_operator, own_networks=own_networks)
    layer, problems = yield from readings.of(file, content, repr(own_networks).encode(), make)
    if layer is None and last is not None:
        return (*last, problems)
    return layer, content.digest, problems


def _named(
    settings: Settings, readings: Readings
) -> Generator[None, None, tuple[dict[str, tuple[Entry, ...] | None], bytes, list[Problem]]]:
    named: dict[str, tuple[Entry, ...] | None] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    for name, file in _documents(settings.policies_dir, _POLICY, problems):
        content = _content(file)
        digest.update(name.encode() + b"\0" + content.digest)
        named[name], faults = yield from readings.of(file, content, b"", compiling_named)
        problems += faults
    return named, digest.digest(), problems


def assemble(
    settings: Settings,
    operator: tuple[OperatorLayer, bytes],
    tenants: Mapping[str, Kept],
    previous: PolicySet,
) -> Generator[None, None, PolicySet]:
    """The set of all tenants' policies, in steps; one that is as in `previous` is the same object."""
    layer, operator_digest = operator
    index = yield from RuleIndex.making(layer.entries)
    nat64 = settings.nat64_prefixes
    compiled: dict[str, TenantPolicy] = {}
    for name, kept in tenants.items():
        generation = _generation(operator_digest, kept.digest, repr(nat64).encode())
        before = previous.tenants.get(name)
        if before is not None and before.generation == generation:
            compiled[name] = before  # the same object: whoever holds it need not judge again
            continue
        if len(compiled) % TENANTS_IN_A_STEP == TENANTS_IN_A_STEP - 1:
            yield
        compiled[name] = TenantPolicy(
            name,
            generation,
            kept.layer.caps,
            profile=kept.layer.profile,
            operator=index,
            own=kept.layer.rules,
            exceptions=layer.exceptions_of(name),
            passthrough=layer.passthrough_of(name),
            nat64_prefixes=nat64,
            limits=kept.layer.limits,
            denied_addresses=layer.denied_addresses,
        )
    parts = [f"{name}={policy.generation}".encode() for name, policy in sorted(compiled.items())]
    return PolicySet(
        MappingProxyType(compiled),
        _generation(operator_digest, *parts),
        layer.denied_addresses.networks,
    )


def _generation(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _documents(directory: Path, naming: _Naming, problems: list[Problem]) -> list[tuple[str, Path]]:
    """(name, file) of every document, in order; hidden files and other endings are somebody else's."""
    try:
        files = sorted(f for f in directory.iterdir() if f.suffix == ".yaml" and not f.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(_fault(directory, f"cannot be listed: {error.strerror}", "mend its owner and mode"))
        return []
    good = []
    for file in files:
        if naming.grammar.fullmatch(file.stem):
            good.append((file.stem, file))
        else:
            problems.append(_fault(file, f"{file.stem!r} is no {naming.what}", f"rename it: {naming.mend}"))
    return good


def _content(file: Path) -> _Content:
    try:
        # Non-blocking: a FIFO in a file's place must not stop the service.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            raw = stream.read(MAX_BYTES + 1) if stat.S_ISREG(mode) else None
    except OSError as error:
        return _unusable(file, f"cannot be read: {error.strerror}", "mend its owner and mode")
    if raw is None:
        return _unusable(file, "is no regular file", "put the document itself there")
    if mode & stat.S_IWOTH:
        shown = f"{stat.S_IMODE(mode):04o}"
        return _unusable(file, f"everybody may write it (mode {shown})", f"chmod o-w {file}")
    return _Content(raw, hashlib.sha256(raw).digest(), ())


def _unusable(file: Path, message: str, mend: str) -> _Content:
    return _Content(None, b"", (_fault(file, message, mend),))


def _parsing(file: Path, content: _Content) -> Generator[None, None, tuple[Document | None, list[Problem]]]:
    problems = list(content.problems)
    if content.raw is None:
        return None, problems
    try:
        return (yield from yamldoc.loading(content.raw, str(file))), problems
    except YamlError as error:
        return None, [*problems, _yaml_problem(file, str(error))]


def _yaml_problem(file: Path, text: str) -> Problem:
    """`file:line:column: message` taken apart again."""
    line, _, rest = text.removeprefix(f"{file}:").partition(":")
    column, _, said = rest.partition(": ")
    message, _, mend = said.partition("; ")
    return Problem(Position(str(file), int(line), int(column)), message, mend or "write valid YAML 1.2")


def _fault(file: Path, message: str, mend: str) -> Problem:
    return Problem(Position(str(file), 1, 1), message, mend)


def _strangers(settings: Settings, operator: OperatorLayer, tenants: Mapping[str, object]) -> list[Problem]:
    """Exceptions for tenants that do not exist: a warning, because the tenant may come later."""
    unknown = dict.fromkeys(tenant for tenant, _ in operator.exceptions if tenant not in tenants)
    return [
        Problem(
            Position(str(settings.operator_file), 1, 1),
            f"an exception names tenant {tenant!r}, which has no policy",
            f"write {settings.tenants_dir}/{tenant}.yaml, or remove the exception",
            Severity.WARNING,
        )
        for tenant in unknown
    ]
