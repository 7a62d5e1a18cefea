"""Policy documents from disk, and the set that they make. What a running process keeps is `store`'s."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType

from appliance.policy.catalog import Catalog, load_own
from appliance.policy.compile import (
    OperatorLayer,
    TenantLayer,
    compiling_named,
    compiling_operator,
    compiling_tenant,
)
from appliance.policy.compile_account import AccountsLayer, compiling_accounts
from appliance.policy.compile_rule import Entry
from appliance.policy.documents import POLICY_NAME, POLICY_NAME_MEND
from appliance.policy.files import Content, Naming, Readings, documents, fault, making, octets_of
from appliance.policy.platform import platform_policy
from appliance.policy.problems import PolicyError, Problem, Severity, errors
from appliance.policy.rules import RuleIndex
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy
from appliance.settings import Settings
from appliance.stepwise import finish
from appliance.workload import PLATFORM, TENANT_NAME, TENANT_NAME_MEND
from appliance.yamldoc import Document, Position

__all__ = [
    "Kept",
    "Loaded",
    "PolicyError",
    "Problem",
    "Readings",
    "assemble",
    "check_accounts_text",
    "check_tenant_file",
    "check_tenant_text",
    "load_catalog",
    "load_operator_exceptions",
    "load_policy_set",
    "loading",
]

TENANTS_IN_A_STEP = 5

_TENANT = Naming("tenant name", TENANT_NAME, TENANT_NAME_MEND)
_POLICY = Naming("policy name", POLICY_NAME, POLICY_NAME_MEND)


@dataclass(frozen=True, slots=True)
class Kept:
    """A tenant's last good layer and the digest of all that went into it."""

    layer: TenantLayer
    digest: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything of one reading. `operator` None: operator.yaml, or accounts.yaml, was never in order."""

    operator: tuple[OperatorLayer, bytes] | None
    accounts: AccountsLayer
    tenants: Mapping[str, Kept | None]
    problems: tuple[Problem, ...]


def load_policy_set(settings: Settings) -> PolicySet:
    """Every tenant's policy, all documents free of errors. Raises `PolicyError`."""
    loaded = finish(loading(settings, Readings(), None))
    if errors(loaded.problems) or loaded.operator is None:
        raise PolicyError(errors(loaded.problems))
    tenants = {name: kept for name, kept in loaded.tenants.items() if kept is not None}
    return finish(assemble(settings, loaded.operator, loaded.accounts, tenants, PolicySet()))


def check_tenant_file(settings: Settings, file: Path, least: Severity = Severity.ERROR) -> list[Problem]:
    """What is wrong with `file` as the policy of the tenant that it is named after (`acme.yaml…`).

    With `least` WARNING the warnings, too. Raises `PolicyError` when operator.yaml has errors.
    """
    found = _judged(settings, file, octets_of(file), file.name.partition(".")[0])
    return found if least is Severity.WARNING else errors(found)


def check_tenant_text(settings: Settings, raw: bytes, shown: str, tenant: str) -> list[Problem]:
    """Errors of a document that is not in its place yet, `shown` naming it in positions.

    Raises `PolicyError` when operator.yaml has errors.
    """
    return errors(_judged(settings, Path(shown), Content(raw, b"", ()), tenant))


def load_operator_exceptions(settings: Settings) -> tuple[tuple[IPv4Network, int], ...]:
    """Destinations in private ranges that the operator lets through, whichever tenant may use them.

    Reads operator.yaml alone: its caller is privileged and parses no word of a tenant. Raises `PolicyError`.
    """
    operator, _, problems = finish(_operator(settings, Readings(), None))
    if operator is None:
        raise PolicyError(errors(problems))
    return tuple(sorted({(e.network, e.port) for _tenant, e in operator.exceptions}))


def _judged(settings: Settings, file: Path, content: Content, tenant: str) -> list[Problem]:
    operator, _, problems = finish(_operator(settings, Readings(), None))
    if operator is None:
        raise PolicyError(errors(problems))
    named, _, _ = finish(_named(settings, Readings()))
    _, found = finish(
        making(file, content, lambda document: compiling_tenant(document, tenant, operator, named))
    )
    return found


def loading(
    settings: Settings,
    readings: Readings,
    last_operator: tuple[OperatorLayer, bytes] | None,
    last_accounts: AccountsLayer | None = None,
) -> Generator[None, None, Loaded]:
    """Read every document that differs from what `readings` know, in steps."""
    operator, digest, problems = yield from _operator(settings, readings, last_operator)
    if operator is None:
        return Loaded(None, AccountsLayer(), {}, tuple(problems))
    accounts, faults = yield from _accounts(settings, readings, (operator, digest), last_accounts)
    problems += faults
    if accounts is None:
        return Loaded(None, AccountsLayer(), {}, tuple(problems))
    named, named_digest, faults = yield from _named(settings, readings)
    problems += faults
    tenants: dict[str, Kept | None] = {}
    for name, file in documents(settings.tenants_dir, _TENANT, problems):
        content = octets_of(file)
        make = partial(compiling_tenant, tenant=name, operator=operator, named=named)
        layer, faults = yield from readings.of(file, content, digest + named_digest, make)
        problems += faults
        own = hashlib.sha256(content.digest + named_digest).digest()
        tenants[name] = None if layer is None else Kept(layer, own)
    readings.turn()
    problems += _strangers(settings, operator, accounts, tenants)
    return Loaded((operator, digest), accounts, tenants, tuple(problems))


def _operator(
    settings: Settings, readings: Readings, last: tuple[OperatorLayer, bytes] | None
) -> Generator[None, None, tuple[OperatorLayer | None, bytes, list[Problem]]]:
    file = settings.operator_file
    if not os.path.lexists(file):
        if last is None or last[0] == OperatorLayer():
            return OperatorLayer(), b"", []
        # Gone is not the same as empty: what it denied stays denied until somebody says otherwise.
        mend = "put it back, or write {} into it to have none of its rules"
        return (*last, [fault(file, "is gone; its last good rules stay in force", mend)])
    content = octets_of(file)
    own_networks = (settings.uplink.address.network,)
    make = partial(compiling_operator, own_networks=own_networks)
    layer, problems = yield from readings.of(file, content, repr(own_networks).encode(), make)
    if layer is None and last is not None:
        return (*last, problems)
    return layer, content.digest, problems


def _accounts(
    settings: Settings,
    readings: Readings,
    operator: tuple[OperatorLayer, bytes],
    last: AccountsLayer | None,
) -> Generator[None, None, tuple[AccountsLayer | None, list[Problem]]]:
    file = settings.accounts_file
    if not os.path.lexists(file):
        if last is None or not last.tenants:
            return AccountsLayer(), []
        # Gone is not the same as empty: what is an account's alone would be open to the profile.
        mend = "put it back, or write {} into it to have no accounts"
        return last, [fault(file, "is gone; its last good accounts stay", mend)]
    catalog, digest, problems = yield from load_own(settings.integrations_dir, readings)
    content = octets_of(file)
    make = partial(_making_accounts, catalog=catalog, operator=operator[0], digest=content.digest)
    layer, faults = yield from readings.of(file, content, operator[1] + digest, make)
    return (last if layer is None else layer), problems + faults


def _making_accounts(
    document: Document, catalog: Catalog, operator: OperatorLayer, digest: bytes
) -> Generator[None, None, tuple[AccountsLayer | None, list[Problem]]]:
    items = document.data.get("accounts") if isinstance(document.data, dict) else None
    for item in items if isinstance(items, list) else ():
        yield from catalog.preparing(item.get("integration") if isinstance(item, dict) else None)
    return (yield from compiling_accounts(document, catalog, operator, digest))


def load_catalog(settings: Settings) -> tuple[Catalog, list[Problem]]:
    """Every integration definition there is, and what is wrong with the operator's own."""
    catalog, _, problems = finish(load_own(settings.integrations_dir, Readings()))
    return catalog, problems


def check_accounts_text(settings: Settings, raw: bytes, shown: str) -> list[Problem]:
    """Errors of an accounts.yaml that is not in its place yet, `shown` naming it in positions.

    Raises `PolicyError` when operator.yaml has errors.
    """
    operator, _, problems = finish(_operator(settings, Readings(), None))
    if operator is None:
        raise PolicyError(errors(problems))
    catalog, _ = load_catalog(settings)
    make = partial(_making_accounts, catalog=catalog, operator=operator, digest=b"")
    return errors(finish(making(Path(shown), Content(raw, b"", ()), make))[1])


def _named(
    settings: Settings, readings: Readings
) -> Generator[None, None, tuple[dict[str, tuple[Entry, ...] | None], bytes, list[Problem]]]:
    named: dict[str, tuple[Entry, ...] | None] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    for name, file in documents(settings.policies_dir, _POLICY, problems):
        content = octets_of(file)
        digest.update(name.encode() + b"\0" + content.digest)
        named[name], faults = yield from readings.of(file, content, b"", compiling_named)
        problems += faults
    return named, digest.digest(), problems


def assemble(
    settings: Settings,
    operator: tuple[OperatorLayer, bytes],
    accounts: AccountsLayer,
    tenants: Mapping[str, Kept],
    previous: PolicySet,
) -> Generator[None, None, PolicySet]:
    """The set of all tenants' policies, in steps; one that is as in `previous` is the same object."""
    layer, operator_digest = operator
    index = yield from RuleIndex.making(layer.entries)
    nat64 = settings.nat64_prefixes
    compiled: dict[str, TenantPolicy] = {}
    for name, kept in tenants.items():
        bound = accounts.of(name)
        own_accounts = (accounts.digest,) if bound.accounts else ()
        generation = _generation(operator_digest, kept.digest, repr(nat64).encode(), *own_accounts)
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
            bound=bound,
        )
    own = _generation(operator_digest, repr(sorted(settings.platform_hosts)).encode(), repr(nat64).encode())
    platform = previous.platform
    if platform is None or platform.generation != own:
        platform = platform_policy(settings.platform_hosts, layer, index, own, nat64)
    parts = [f"{name}={policy.generation}".encode() for name, policy in sorted(compiled.items())]
    return PolicySet(
        MappingProxyType(compiled),
        _generation(operator_digest, *parts),
        layer.denied_addresses.networks,
        platform,
    )


def _generation(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _strangers(
    settings: Settings, operator: OperatorLayer, accounts: AccountsLayer, tenants: Mapping[str, object]
) -> list[Problem]:
    """Exceptions and accounts for tenants that do not exist: warnings, because a tenant may come later."""
    named = (
        ("an exception", settings.operator_file, (tenant for tenant, _ in operator.exceptions)),
        ("an integration account", settings.accounts_file, accounts.tenants),
    )
    return [
        Problem(
            Position(str(file), 1, 1),
            f"{what} names tenant {tenant!r}, which has no policy",
            f"write {settings.tenants_dir}/{tenant}.yaml, or remove it there",
            Severity.WARNING,
        )
        for what, file, theirs in named
        for tenant in dict.fromkeys(theirs)
        if tenant not in tenants and tenant != PLATFORM
    ]
