"""Where a call's secret comes from: a real vault, real handles."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.secrets import CallSecrets, bound_to
from appliance.broker.database import open_database
from appliance.broker.database_threads import DatabaseBusy
from appliance.broker.handles import Handles
from appliance.broker.vault import vault as vault_module
from appliance.broker.vault.envelope import KEY, LocalKey
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import BasicSecret, StaticSecret
from appliance.broker.vault.vault import Vault
from tests.unit.broker.calls.support import ATTESTED, SECRET, STORED, account, policy_of

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CRM = policy_of(account()).account("crm")


async def in_thread(function, *arguments):
    return function(*arguments)


async def no_session(*_):
    return False


@pytest.fixture
def vault(database: Engine) -> Vault:
    made = Vault(database)
    made.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    return made


def result(coroutine):
    found: list = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    return found[0]


def asked(vault: Vault) -> tuple[CallSecrets, Handles]:
    handles = Handles(Clock())
    return CallSecrets(vault, handles, in_thread, no_session), handles


def test_002_09_a_secret_is_found_under_tenant_integration_and_name(vault: Vault) -> None:
    vault.put("acme", "crm-api", "crm-key", StaticSecret(kind="static", value=SECRET), NOW)
    held = result(asked(vault)[0].of_account(ATTESTED, CRM))
    assert held.material.value.get_secret_value() == SECRET
    assert held.stored == vault.find("acme", "crm-api", "crm-key").stored
    held.close()
    held.close()


def test_000_38_when_the_call_lets_go_the_decrypted_octets_are_cleared(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers: list[bytearray] = []
    real = vault_module.unseal
    monkeypatch.setattr(vault_module, "unseal", lambda *found: buffers.append(real(*found)) or buffers[-1])
    vault.put("acme", "crm-api", "crm-key", StaticSecret(kind="static", value=SECRET), NOW)
    held = result(asked(vault)[0].of_account(ATTESTED, CRM))
    assert SECRET.encode() in buffers[0]
    held.close()
    assert not any(buffers[0])


@pytest.mark.parametrize(("tenant", "integration"), [("globex", "crm-api"), ("acme", "other")])
def test_002_09_another_tenants_or_integrations_secret_is_none(
    vault: Vault, tenant: str, integration: str
) -> None:
    vault.put(tenant, integration, "crm-key", StaticSecret(kind="static", value=SECRET), NOW)
    failure = result(asked(vault)[0].of_account(ATTESTED, CRM))
    assert isinstance(failure.value, CallRefused)
    assert failure.value.refusal.reason == "unknown-secret"
    assert vault.decryptions == 0


def test_002_09_each_tenant_and_integration_is_given_its_own(vault: Vault) -> None:
    places = [
        (tenant, integration) for tenant in ("acme", "globex") for integration in ("crm-api", "other-api")
    ]
    for place in places:
        vault.put(*place, "crm-key", StaticSecret(kind="static", value=SECRET + "-".join(place)), NOW)
    for tenant, integration in places:
        asking, account_there = replace(ATTESTED, tenant=tenant), replace(CRM, integration=integration)
        held = result(asked(vault)[0].of_account(asking, account_there))
        assert held.material.value.get_secret_value() == f"{SECRET}{tenant}-{integration}"
        held.close()


def test_a_secret_of_a_kind_that_the_integration_has_no_place_for_is_refused(vault: Vault) -> None:
    vault.put("acme", "crm-api", "crm-key", BasicSecret(kind="basic", username="u", password=SECRET), NOW)
    failure = result(asked(vault)[0].of_account(ATTESTED, CRM))
    assert failure.value.refusal.reason == "credential-mismatch"


def test_004_11_a_handle_serves_its_own_execution_and_account(vault: Vault) -> None:
    calls, handles = asked(vault)
    material = StaticSecret(kind="static", value=SECRET)
    handle = handles.register(handles.ask(bound_to(ATTESTED, CRM)), material, STORED, lambda: None)
    held = calls.of_handle(ATTESTED, CRM, handle)
    assert held is not None
    assert held.material is material
    assert held.stored == STORED
    handles.revoke_all(ATTESTED.endpoint)
    assert calls.of_handle(ATTESTED, CRM, handle) is None
    elsewhere = bound_to(replace(ATTESTED, endpoint="e2"), CRM)
    other = handles.register(handles.ask(elsewhere), material, STORED, lambda: None)
    assert calls.of_handle(ATTESTED, CRM, other) is None


@pytest.mark.parametrize(
    "changed", [{"integration": "bank-api"}, {"secret": "crm-key-2"}, {"kinds": frozenset({"basic"})}]
)
def test_004_11_a_handle_is_for_the_secret_that_it_was_given_for(vault: Vault, changed: dict) -> None:
    """An account of the same name that has another integration or secret, or no place for such a one."""
    calls, handles = asked(vault)
    material = StaticSecret(kind="static", value=SECRET)
    handle = handles.register(handles.ask(bound_to(ATTESTED, CRM)), material, STORED, lambda: None)
    assert calls.of_handle(ATTESTED, replace(CRM, **changed), handle) is None
    assert calls.of_handle(ATTESTED, replace(CRM, hosts=(), label="accounts[7]"), handle) is not None


def test_where_too_much_waits_for_the_database_the_call_is_refused(vault: Vault) -> None:
    async def busy(*_):
        raise DatabaseBusy

    calls = CallSecrets(vault, Handles(Clock()), busy, no_session)
    failure = result(calls.of_account(ATTESTED, CRM))
    assert isinstance(failure.value, CallRefused)
    assert (failure.value.refusal.status, failure.value.refusal.reason) == (503, "store_unavailable")
    assert vault.decryptions == 0


def put(vault: Vault, value: str = SECRET) -> None:
    vault.put("acme", "crm-api", "crm-key", StaticSecret(kind="static", value=value), NOW)


def told(calls: CallSecrets) -> str:
    """The secret, or why there is none."""
    held = result(calls.of_account(ATTESTED, CRM))
    if not hasattr(held, "material"):
        return held.value.refusal.reason
    value = held.material.value.get_secret_value()
    held.close()
    return value


@pytest.fixture
def other(vault: Vault, database: Engine, database_url: str) -> Iterator[Vault]:
    """The same vault over connections of its own, as another process has it."""
    del vault
    made = Vault(open_database(database_url))
    made.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    yield made
    made.close()


def test_while_nothing_has_changed_sqlite_is_not_read_again_and_each_call_decrypts(
    vault: Vault, database: Engine
) -> None:
    put(vault)
    calls, _ = asked(vault)
    assert [told(calls) for _ in range(3)] == [SECRET] * 3
    assert vault.reads == (1 if database.dialect.name == "sqlite" else 3)
    assert vault.decryptions == 3


@pytest.mark.parametrize("by_another", [False, True])
def test_a_secret_that_was_rotated_or_removed_counts_with_the_commit(
    vault: Vault, other: Vault, *, by_another: bool
) -> None:
    put(vault)
    calls, _ = asked(vault)
    writer = other if by_another else vault
    for number in range(10):
        assert told(calls) == told(calls)
        later = f"{SECRET}-{number}"
        writer.rotate("acme", "crm-api", "crm-key", StaticSecret(kind="static", value=later), NOW)
        assert told(calls) == later
    writer.remove("acme", "crm-api", "crm-key")
    assert told(calls) == "unknown-secret"
    put(writer)
    assert told(calls) == SECRET


def test_what_was_read_before_a_change_is_not_kept_after_it(vault: Vault) -> None:
    put(vault)
    late: list[Deferred] = []

    async def slow(function, *arguments):
        read = function(*arguments)
        if not late:
            late.append(Deferred())
            await late[0]
        return read

    calls = CallSecrets(vault, Handles(Clock()), slow, no_session)
    first: list = []
    Deferred.fromCoroutine(calls.of_account(ATTESTED, CRM)).addBoth(first.append)
    put(vault, f"{SECRET}-later")
    assert told(calls) == f"{SECRET}-later"
    late[0].callback(None)
    first[0].close()
    assert told(calls) == f"{SECRET}-later"


def test_a_vault_that_was_locked_opens_nothing_that_is_kept(vault: Vault) -> None:
    put(vault)
    calls, _ = asked(vault)
    assert told(calls) == SECRET
    vault.keyring.lock()
    assert told(calls) == "vault-locked"


def test_a_key_that_another_has_exchanged_opens_nothing_any_more(vault: Vault, other: Vault) -> None:
    put(vault)
    calls, _ = asked(vault)
    assert told(calls) == SECRET
    other.keyring.change(LocalKey(bytearray(b"n" * KEY), secrets.token_bytes), Source.KEY_FILE)
    assert told(calls) == "vault-locked"
