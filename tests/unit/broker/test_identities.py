"""appliance.broker.identities: certificates and sessions over one database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, inspect, select

from appliance.broker import replay, session_table
from appliance.broker.database import DatabaseError, reading
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import ProofRequest
from appliance.broker.identities import open_identities
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.identity.verification import CertificateFault, CertificateRefusal
from appliance.broker.identity.workloads import Attestation, EnrolmentRefused, workload_certificates
from appliance.broker.replay import UsedProof, used_proofs
from appliance.broker.session_table import sessions
from appliance.broker.sessions import Presenter
from appliance.tls.authority import new_key
from tests.unit.broker.identity.peers import csr, make_root

REQUEST = ProofRequest("POST", TargetUri.parse("https://broker.egress.internal/v1/session"))


def now() -> datetime:
    return datetime.now(UTC)


def test_a_certificate_that_it_issues_is_one_that_it_admits(database_url: str) -> None:
    identities = open_identities(database_url, make_root(), now)
    issued = identities.certificates.issue(csr(new_key()), Attestation("e1", "acme", "c1"))
    admitted = identities.gate.admit([issued.certificate, issued.issuer], now())
    assert not isinstance(admitted, CertificateRefusal)
    assert (admitted.id.tenant, admitted.id.workload, admitted.endpoint) == ("acme", "c1", "e1")
    identities.workloads.depart("e1", now())
    refused = identities.gate.admit([issued.certificate, issued.issuer], now())
    assert isinstance(refused, CertificateRefusal)
    assert refused.fault is CertificateFault.DEPARTED
    identities.close()


def test_all_that_it_needs_is_in_the_database_from_the_start(database_url: str) -> None:
    identities = open_identities(database_url, make_root(), now)
    tables = set(inspect(identities.engine).get_table_names())
    assert {"sessions", "workload_certificates", "workload_endpoints", "dpop_nonce_key"} <= tables
    identities.close()


def test_a_database_that_cannot_be_used_is_one_error() -> None:
    with pytest.raises(DatabaseError):
        open_identities("sqlite:///not/absolute.db", make_root(), now)


@pytest.mark.parametrize("container", ["c1", ""])
def test_004_17_who_is_expelled_has_no_certificate_and_no_session_and_gets_none(
    database_url: str, container: str
) -> None:
    identities = open_identities(database_url, make_root(), now)
    mine, other = Attestation("e1", "acme", container), Attestation("e2", "acme", "c2")
    chains = {}
    for attested in (mine, other):
        issued = identities.certificates.issue(csr(new_key()), attested)
        chains[attested.endpoint] = [issued.certificate, issued.issuer]
        who = Presenter(attested.identity(identities.root.instance), thumbprint(issued.certificate))
        identities.sessions.open(who, 600, REQUEST, (), now())
    identities.expel("acme", "e1", container, now())
    assert isinstance(identities.gate.admit(chains["e1"], now()), CertificateRefusal)
    assert not isinstance(identities.gate.admit(chains["e2"], now()), CertificateRefusal)
    assert identities.sessions.live("acme", now()) == 1
    with pytest.raises(EnrolmentRefused, match="workload_departed"):
        identities.certificates.issue(csr(new_key()), mine)
    identities.close()


def test_what_is_over_takes_no_room(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PRUNED_IN_ONE", 10)
    monkeypatch.setattr(session_table, "PRUNED_IN_ONE", 10)
    identities = open_identities(database_url, make_root(), now)
    issued = identities.certificates.issue(csr(new_key()), Attestation("e1", "acme", "c1"))
    who = Presenter(WorkloadId(identities.root.instance, "acme", "c1"), thumbprint(issued.certificate))
    started = now()
    moment = int(started.timestamp())
    for _ in range(20):
        identities.sessions.open(who, 60, REQUEST, (), started)
    identities.sessions.open(who, 3600, REQUEST, (), started)
    for number in range(25):
        assert identities.replays.first_use(UsedProof("acme", "s", "k", str(number)), moment, moment + 300)
    assert identities.replays.first_use(UsedProof("acme", "s", "k", "late"), moment, moment + 3000)

    def rows() -> list[int]:
        with reading(identities.engine) as connection:
            return [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (sessions, used_proofs, workload_certificates)
            ]

    assert rows() == [21, 26, 1]
    assert identities.prune(started) == 0
    assert identities.prune(started + timedelta(seconds=301)) == 20 + 25
    assert rows() == [1, 1, 1]
    identities.prune(started + timedelta(days=2))
    assert rows() == [0, 0, 0]
    identities.close()
