"""appliance.broker.calls.slot_sessions: which tokens in a slot are ours."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred

from appliance.broker.calls import refusals
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.slot_sessions import SlotSessions
from appliance.broker.database_threads import DatabaseBusy
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import ProofRequest
from appliance.broker.identities import Identities, open_identities
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.identity.workloads import Attestation, workload_certificates
from appliance.broker.sessions import Presenter
from appliance.tls.authority import new_key
from tests.unit.broker.calls.support import ATTESTED
from tests.unit.broker.identity.peers import INSTANCE, csr, make_root

CRM = SimpleNamespace(name="crm")
REQUEST = ProofRequest("POST", TargetUri.parse("https://broker.egress.internal/v1/session"))


def now() -> datetime:
    return datetime.now(UTC)


async def in_thread(function, *arguments):
    return function(*arguments)


@pytest.fixture
def identities(database_url: str):
    made = open_identities(database_url, make_root(), now)
    yield made
    made.close()


def token(identities: Identities, account: str | None = "crm") -> str:
    issued = identities.certificates.issue(
        csr(new_key()), Attestation(ATTESTED.endpoint, ATTESTED.tenant, "c1")
    )
    me = Presenter(WorkloadId(INSTANCE, "acme", "c1"), thumbprint(issued.certificate))
    return identities.sessions.open(me, 600, REQUEST, (), now(), account=account).token


def asked(identities: Identities, text: str, attested=ATTESTED, addresses=None):
    slot = SlotSessions(identities, in_thread, now, addresses)
    found: list = []
    Deferred.fromCoroutine(slot.is_session(attested, CRM, text)).addBoth(found.append)
    return found[0]


def test_000_36_a_live_token_of_this_workload_counts_and_nothing_else_does(identities: Identities) -> None:
    live = token(identities)
    assert asked(identities, live) is True
    assert asked(identities, live[:-1] + ("a" if live[-1] != "a" else "b")) is False
    assert asked(identities, token(identities, account=None)) is False


def test_000_09_anothers_token_does_not_count(identities: Identities) -> None:
    other = SimpleNamespace(tenant="acme", endpoint="e2")
    assert asked(identities, token(identities), other) is False


def test_000_33_a_disabled_workloads_token_counts_no_more(identities: Identities) -> None:
    live = token(identities)
    identities.workloads.disable("acme", "c1", now())
    assert asked(identities, live) is False


def test_where_nobody_can_tell_the_call_is_refused_and_nothing_is_killed(identities: Identities) -> None:
    live = token(identities)
    workload_certificates.drop(identities.engine)
    failure = asked(identities, live)
    assert isinstance(failure.value, CallRefused)
    assert failure.value.refusal is refusals.SESSIONS_UNAVAILABLE


def test_000_07_a_session_serves_in_no_slot_from_an_address_outside_the_list(identities: Identities) -> None:
    live = token(identities)
    assert asked(identities, live, addresses=AddressAllowlist.parse(["172.18.0.2"])) is True
    failure = asked(identities, live, addresses=AddressAllowlist.parse(["2001:db8::/32"]))
    assert isinstance(failure.value, CallRefused)
    assert failure.value.refusal.reason == "workload_ip_denied"


def test_where_too_much_waits_for_the_database_nobody_is_taken_for_a_thief(identities: Identities) -> None:
    async def busy(*_):
        raise DatabaseBusy

    slot = SlotSessions(identities, busy, now)
    found: list = []
    Deferred.fromCoroutine(slot.is_session(ATTESTED, CRM, token(identities))).addBoth(found.append)
    assert isinstance(found[0].value, CallRefused)
    assert found[0].value.refusal is refusals.SESSIONS_UNAVAILABLE
