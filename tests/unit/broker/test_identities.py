"""appliance.broker.identities: certificates and sessions over one database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import inspect

from appliance.broker.database import DatabaseError
from appliance.broker.identities import open_identities
from appliance.broker.identity.verification import CertificateFault, CertificateRefusal
from appliance.broker.identity.workloads import Attestation
from appliance.tls.authority import new_key
from tests.unit.broker.identity.peers import csr, make_root


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
