"""Policy documents from disk: strict for the command line, keeping the last good for running processes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType

from appliance.policy.compile import (
    OperatorLayer,
    TenantLayer,
    compile_named,
    compile_operator,
    compile_tenant,
)
from appliance.policy.compile_rule import Entry
from appliance.policy.documents import POLICY_NAME
from appliance.policy.problems import PolicyError, Problem, Severity, errors
from appliance.policy.rules import RuleIndex
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy
from appliance.settings import Settings
from appliance.workload import TENANT_NAME
from appliance.yamldoc import MAX_BYTES, Document, Position, YamlError, loads

__all__ = [
    "PolicyError",
    "PolicyStore",
    "Problem",
    "check_tenant_file",
    "check_tenant_text",
    "load_operator_exceptions",
    "load_policy_set",
]


@dataclass(frozen=True, slots=True)
class _Source:
    """One file as it was read; `document` None: it could not be."""

    document: Document | None
    digest: bytes
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A tenant's last good layer and the digest of all that went into it."""

    layer: TenantLayer
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Everything of one reading. `operator` None: operator.yaml has errors."""

    operator: tuple[OperatorLayer, bytes] | None
    tenants: Mapping[str, _Kept | None]
    problems: tuple[Problem, ...]


def load_policy_set(settings: Settings) -> PolicySet:
    """Every tenant's policy, all documents free of errors. Raises `PolicyError`."""
    loaded = _load(settings, None)
    if errors(loaded.problems) or loaded.operator is None:
        raise PolicyError(errors(loaded.problems))
    tenants = {name: kept for name, kept in loaded.tenants.items() if kept is not None}
    return _assemble(settings, loaded.operator, tenants, PolicySet())


def check_tenant_file(settings: Settings, file: Path, least: Severity = Severity.ERROR) -> list[Problem]:
    """What is wrong with `file` as the policy of the tenant that it is named after (`acme.yaml…`).

    With `least` WARNING the warnings, too. Raises `PolicyError` when operator.yaml has errors.
    """
    found = _judged(settings, _read(file), file.name.partition(".")[0])
    return found if least is Severity.WARNING else errors(found)


def check_tenant_text(settings: Settings, raw: bytes, shown: str, tenant: str) -> list[Problem]:
    """Errors of a document that is not in its place yet, `shown` naming it in positions.

    Raises `PolicyError` when operator.yaml has errors.
    """
    return errors(_judged(settings, _parsed(raw, Path(shown)), tenant))


def load_operator_exceptions(settings: Settings) -> tuple[tuple[IPv4Network, int], ...]:
    """Destinations in private ranges that the operator lets through, whichever tenant may use them.

    Reads operator.yaml alone: its caller is privileged and parses no word of a tenant. Raises `PolicyError`.
    """
    operator, _, problems = _load_operator(settings, None)
    if operator is None:
        raise PolicyError(errors(problems))
    return tuple(sorted({(e.network, e.port) for _tenant, e in operator.exceptions}))


def _judged(settings: Settings, source: _Source, tenant: str) -> list[Problem]:
    operator, _, problems = _load_operator(settings, None)
    if operator is None:
        raise PolicyError(errors(problems))
    named, _, _ = _load_named(settings)
    found = list(source.problems)
    if source.document is not None:
        _, faults = compile_tenant(source.document, tenant, operator, named)
        found += faults
    return found


class PolicyStore:
    """The policy in force. A document with errors changes nothing: the last good one stays, under the
    operator's newest layer; a tenant whose document was never good has none, and is denied everything.
    """  # noqa: D205 - one thought

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._operator: tuple[OperatorLayer, bytes] | None = None
        self._tenants: dict[str, _Kept] = {}
        self._listeners: list[Callable[[PolicySet], object]] = []
        self.current = PolicySet()
        self.last_error: PolicyError | None = None
        self.warnings: tuple[Problem, ...] = ()

    def listen(self, changed: Callable[[PolicySet], object]) -> None:
        """Call `changed` with each new set (not with the current one)."""
        self._listeners.append(changed)

    def reload(self) -> PolicySet:
        """Read everything again; never raises for a bad document, see `last_error`."""
        loaded = _load(self._settings, self._operator)
        found = errors(loaded.problems)
        self.last_error = PolicyError(found) if found else None
        self.warnings = tuple(p for p in loaded.problems if p.severity is Severity.WARNING)
        if loaded.operator is None:
            return self.current
        self._operator = loaded.operator
        kept = {name: new or self._tenants.get(name) for name, new in loaded.tenants.items()}
        self._tenants = {name: layer for name, layer in kept.items() if layer is not None}
        new = _assemble(self._settings, self._operator, self._tenants, self.current)
        if new.generation != self.current.generation:
            self.current = new
            for changed in tuple(self._listeners):
                changed(new)
        return self.current


def _load(settings: Settings, last_operator: tuple[OperatorLayer, bytes] | None) -> _Loaded:
    operator, digest, problems = _load_operator(settings, last_operator)
    if operator is None:
        return _Loaded(None, {}, tuple(problems))
    named, named_digest, faults = _load_named(settings)
    problems += faults
    tenants: dict[str, _Kept | None] = {}
    for name, file in _documents(settings.tenants_dir, TENANT_NAME.fullmatch, "tenant", problems):
        source = _read(file)
        problems += source.problems
        layer = None
        if source.document is not None:
            layer, faults = compile_tenant(source.document, name, operator, named)
            problems += faults
        own = hashlib.sha256(source.digest + named_digest).digest()
        tenants[name] = None if layer is None else _Kept(layer, own)
    problems += _strangers(settings, operator, tenants)
    return _Loaded((operator, digest), tenants, tuple(problems))


def _load_operator(
    settings: Settings, last: tuple[OperatorLayer, bytes] | None
) -> tuple[OperatorLayer | None, bytes, list[Problem]]:
    if not settings.operator_file.exists():
        return OperatorLayer(), b"", []
    source = _read(settings.operator_file)
    problems = list(source.problems)
    layer = None
    if source.document is not None:
        layer, faults = compile_operator(source.document, (settings.uplink.address.network,))
        problems += faults
    if layer is None and last is not None:
        return (*last, problems)
    return layer, source.digest, problems


def _load_named(settings: Settings) -> tuple[dict[str, tuple[Entry, ...] | None], bytes, list[Problem]]:
    named: dict[str, tuple[Entry, ...] | None] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    for name, file in _documents(settings.policies_dir, POLICY_NAME.fullmatch, "policy", problems):
        source = _read(file)
        problems += source.problems
        digest.update(name.encode() + b"\0" + source.digest)
        named[name] = None
        if source.document is not None:
            named[name], faults = compile_named(source.document)
            problems += faults
    return named, digest.digest(), problems


def _assemble(
    settings: Settings,
    operator: tuple[OperatorLayer, bytes],
    tenants: Mapping[str, _Kept],
    previous: PolicySet,
) -> PolicySet:
    layer, operator_digest = operator
    index = RuleIndex(layer.entries)
    nat64 = settings.nat64_prefixes
    compiled: dict[str, TenantPolicy] = {}
    for name, kept in tenants.items():
        generation = _generation(operator_digest, kept.digest, repr(nat64).encode())
        before = previous.tenants.get(name)
        if before is not None and before.generation == generation:
            compiled[name] = before  # the same object: whoever holds it need not judge again
            continue
        compiled[name] = TenantPolicy(
            name,
            generation,
            kept.layer.caps,
            profile=kept.layer.profile,
            operator=index,
            own=RuleIndex(kept.layer.entries),
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
        tuple((tenant, e.network, e.port) for tenant, e in layer.exceptions if tenant in compiled),
        layer.denied_addresses.networks,
    )


def _generation(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _documents(
    directory: Path, is_name: Callable[[str], object], what: str, problems: list[Problem]
) -> list[tuple[str, Path]]:
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
        if is_name(file.stem):
            good.append((file.stem, file))
        else:
            problems.append(
                _fault(
                    file, f"{file.stem!r} is no {what} name", "rename it: a-z, 0-9 and '-', a letter first"
                )
            )
    return good


def _read(file: Path) -> _Source:
    try:
        # Non-blocking: a FIFO in a file's place must not stop the service.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            raw = stream.read(MAX_BYTES + 1) if stat.S_ISREG(mode) else None
    except OSError as error:
        return _Source(
            None, b"", (_fault(file, f"cannot be read: {error.strerror}", "mend its owner and mode"),)
        )
    if raw is None:
        return _Source(None, b"", (_fault(file, "is no regular file", "put the document itself there"),))
    if mode & stat.S_IWOTH:
        shown = f"{stat.S_IMODE(mode):04o}"
        problem = _fault(file, f"everybody may write it (mode {shown})", f"chmod o-w {file}")
        return _Source(None, hashlib.sha256(raw).digest(), (problem,))
    return _parsed(raw, file)


def _parsed(raw: bytes, file: Path) -> _Source:
    digest = hashlib.sha256(raw).digest()
    try:
        return _Source(loads(raw, str(file)), digest, ())
    except YamlError as error:
        return _Source(None, digest, (_yaml_problem(file, str(error)),))


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
