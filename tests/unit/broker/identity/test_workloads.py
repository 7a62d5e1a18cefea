"""appliance.broker.identity.workloads: what does not count is refused by the next question."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import Engine, func, select

from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.identity.workloads import (
    MAX_CERTIFICATES,
    REMEMBERED,
    Attestation,
    EnrolmentRefused,
    Standing,
    Workloads,
    serial_text,
    workload_certificates,
)

from .peers import NOW, URI, Forge

FORGE = Forge()
ONE = Attestation("e1", "acme", "c0ffee")


@pytest.fixture
def workloads(database: Engine) -> Workloads:
    return Workloads(database)


def record(
    workloads: Workloads, attested: Attestation = ONE, name: str = "c0ffee", after: timedelta = timedelta(0)
) -> x509.Certificate:
    certificate = FORGE.leaf(URI)
    workloads.record(attested, certificate, name, NOW + after)
    return certificate


def standing(workloads: Workloads, certificate: x509.Certificate) -> Standing:
    found = workloads.standing(thumbprint(certificate))
    assert found is not None
    return found


def counts(workloads: Workloads, certificate: x509.Certificate) -> bool:
    found = workloads.standing(thumbprint(certificate))
    return found is not None and not (found.revoked or found.disabled or found.departed)


def test_000_33_a_recorded_certificate_is_known_with_its_facts(workloads: Workloads) -> None:
    certificate = record(workloads)
    end = int(certificate.not_valid_after_utc.timestamp())
    assert standing(workloads, certificate) == Standing(
        serial_text(certificate), "acme", "c0ffee", "e1", end, revoked=False, disabled=False, departed=False
    )


def test_000_33_a_certificate_that_nobody_recorded_is_unknown(workloads: Workloads) -> None:
    assert workloads.standing(thumbprint(FORGE.leaf(URI))) is None


def test_000_33_a_revoked_certificate_stops_at_once_and_no_other_does(workloads: Workloads) -> None:
    one, other = record(workloads), record(workloads)
    assert workloads.revoke(serial_text(one).upper(), NOW)
    assert standing(workloads, one).revoked
    assert counts(workloads, other)
    assert not workloads.revoke(serial_text(one), NOW)
    assert not workloads.revoke("ff", NOW)


def test_000_33_all_certificates_of_a_workload_are_revoked_together(workloads: Workloads) -> None:
    mine = [record(workloads), record(workloads)]
    others = [
        record(workloads, Attestation("e2", "acme"), "e2"),
        record(workloads, Attestation("e3", "beta"), "c0ffee"),
    ]
    assert workloads.revoke_workload("acme", "c0ffee", NOW) == 2
    assert not any(counts(workloads, one) for one in mine)
    assert all(counts(workloads, one) for one in others)
    assert counts(workloads, record(workloads))


def test_000_33_a_disabled_workload_loses_what_it_has_and_gets_nothing(workloads: Workloads) -> None:
    certificate = record(workloads)
    other = record(workloads, Attestation("e3", "beta"), "c0ffee")
    workloads.disable("acme", "c0ffee", NOW)
    workloads.disable("acme", "c0ffee", NOW)
    assert standing(workloads, certificate).disabled
    assert counts(workloads, other)
    with pytest.raises(EnrolmentRefused) as caught:
        record(workloads, Attestation("e9", "acme", "c0ffee"))
    assert caught.value.code == "workload_disabled"
    assert workloads.enable("acme", "c0ffee")
    assert not workloads.enable("acme", "c0ffee")
    assert counts(workloads, certificate)


def test_000_33_a_departed_container_loses_what_it_has_for_ever(workloads: Workloads) -> None:
    certificate = record(workloads)
    other = record(workloads, Attestation("e2", "acme"), "e2")
    workloads.depart("e1", NOW)
    assert standing(workloads, certificate).departed
    assert counts(workloads, other)
    with pytest.raises(EnrolmentRefused) as caught:
        record(workloads)
    assert caught.value.code == "workload_departed"
    # The same container, attached anew, is another endpoint: it enrols, and the old certificate stays dead.
    again = record(workloads, Attestation("e4", "acme", "c0ffee"))
    assert counts(workloads, again)
    assert not counts(workloads, certificate)


def test_000_33_a_departure_before_the_enrolment_is_remembered(workloads: Workloads) -> None:
    workloads.depart("e1", NOW)
    with pytest.raises(EnrolmentRefused) as caught:
        record(workloads)
    assert caught.value.code == "workload_departed"


def test_000_33_after_a_restart_only_live_endpoints_are_kept(workloads: Workloads) -> None:
    one, other = record(workloads), record(workloads, Attestation("e2", "acme"), "e2")
    assert workloads.keep_only(["e2", "e7"], NOW) == ["e1"]
    assert not counts(workloads, one)
    assert counts(workloads, other)
    assert workloads.keep_only([], NOW) == ["e2"]


def test_an_endpoint_belongs_to_one_tenant(workloads: Workloads) -> None:
    record(workloads)
    with pytest.raises(EnrolmentRefused) as caught:
        record(workloads, Attestation("e1", "beta", "c0ffee"))
    assert caught.value.code == "attestation_conflict"


def test_a_refused_record_leaves_nothing(workloads: Workloads, database: Engine) -> None:
    workloads.disable("acme", "c0ffee", NOW)
    with pytest.raises(EnrolmentRefused):
        record(workloads)
    with database.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(workload_certificates)) == 0


def test_an_endpoint_that_asks_for_ever_keeps_its_newest_and_fills_nothing(
    workloads: Workloads, database: Engine
) -> None:
    bystander = record(workloads, Attestation("e2", "acme"), "e2")
    made = [record(workloads, after=timedelta(seconds=n)) for n in range(MAX_CERTIFICATES + 3)]
    assert [counts(workloads, one) for one in made] == [False] * 3 + [True] * MAX_CERTIFICATES
    assert counts(workloads, bystander)
    with database.connect() as connection:
        total = connection.scalar(select(func.count()).select_from(workload_certificates))
    assert total == MAX_CERTIFICATES + 1


def test_what_has_expired_is_forgotten_and_departures_later(workloads: Workloads) -> None:
    certificate = record(workloads)
    record(workloads, Attestation("e2", "acme"), "e2")
    workloads.depart("e2", NOW)
    assert workloads.prune(NOW) == 0
    assert workloads.prune(certificate.not_valid_after_utc) == 2
    assert workloads.standing(thumbprint(certificate)) is None
    with pytest.raises(EnrolmentRefused):
        record(workloads, Attestation("e2", "acme"), "e2")
    assert workloads.prune(NOW + REMEMBERED) == 1


@pytest.mark.parametrize(("endpoint", "tenant"), [("", "acme"), ("x" * 129, "acme"), ("e", ""), ("e", "A")])
def test_what_no_link_can_attest_is_no_attestation(endpoint: str, tenant: str) -> None:
    with pytest.raises(ValueError):
        Attestation(endpoint, tenant)
