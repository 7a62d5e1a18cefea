"""appliance.broker.sessions: a token where a provider's key would stand; the link says who calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import Engine

from appliance.broker.denied import Denied
from appliance.broker.dpop.nonces import Nonces
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import ProofRequest, Verifier
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.identity.workloads import Attestation, Workloads, serial_text, workload_certificates
from appliance.broker.replay import Replays
from appliance.broker.session_table import SessionTable
from appliance.broker.sessions import AttestedLink, Presenter, Sessions
from tests.unit.broker.proofs import ABSENT, EC_KEY, proof

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OPEN = "https://broker.example/sessions"
REQUEST = ProofRequest("POST", TargetUri.parse(OPEN))
NONCES = Nonces(bytes(32))


def certificate(minutes: int = 60) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "c1")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(minutes=minutes)).sign(key, SHA256())


class Place:
    """A workload on a link, with a certificate that counts and a session for one account."""

    def __init__(self, database: Engine) -> None:
        self.workloads = Workloads(database)
        self.sessions = Sessions(SessionTable(database), Verifier(Replays(database), NONCES))
        self.certificate = certificate()
        self.workloads.record(Attestation("endpoint-1", "acme", "c1"), self.certificate, "c1", NOW)
        self.me = Presenter(WorkloadId("lab", "acme", "c1"), thumbprint(self.certificate))
        self.token = self.opened("openai-acme")

    def opened(
        self, account: str | None, *proofs: str, who: Presenter | None = None, life: int = 3600
    ) -> str:
        who = who or self.me
        return self.sessions.open(who, life, REQUEST, proofs, NOW, account=account, shape="sk-").token

    def ask(self, token: str = "", *, tenant: str = "acme", endpoint: str = "endpoint-1",
            account: str = "openai-acme", now: datetime = NOW) -> str:  # fmt: skip
        """ "" where it passes, else the reason."""
        try:
            found = self.sessions.authorise_in_slot(
                token or self.token, AttestedLink(tenant, endpoint), account, self.workloads, now
            )
        except Denied as error:
            return error.reason
        assert (found.tenant, found.account) == (tenant, account)
        return ""


@pytest.fixture
def place(database: Engine) -> Place:
    return Place(database)


def test_000_36_a_provider_shaped_token_passes_on_its_own_link(place: Place) -> None:
    assert place.token.startswith("sk-")
    assert place.ask() == ""


def test_000_09_a_stolen_token_serves_on_no_other_link(place: Place) -> None:
    place.workloads.record(Attestation("endpoint-2", "acme", "c2"), certificate(), "c2", NOW)
    assert place.ask(endpoint="endpoint-2") == "workload_mismatch"
    assert place.ask(tenant="other") == "workload_mismatch"
    assert place.ask(endpoint="") == "workload_mismatch"


def test_it_serves_its_own_account_alone(place: Place) -> None:
    assert place.ask(account="stripe-acme") == "account_mismatch"
    for_none = place.opened(None)
    assert place.ask(for_none) == place.ask(for_none, account="") == "account_mismatch"


def test_000_11_a_bound_token_serves_nothing_without_its_proof(place: Place) -> None:
    nonce = NONCES.accepted("acme", place.me.workload.uri, int(NOW.timestamp()))[0]
    text = proof(EC_KEY, htu=OPEN, ath=ABSENT, iat=int(NOW.timestamp()), nonce=nonce)
    assert place.ask(place.opened("openai-acme", text)) == "scheme_mismatch"


def test_000_34_it_ends_when_the_session_ends(place: Place) -> None:
    assert place.ask(now=NOW + timedelta(seconds=3600)) == "session_expired"
    place.sessions.revoke_workload(place.me.workload, NOW)
    assert place.ask() == "session_revoked"
    assert place.ask("x" * 51) == "token_unknown"


def test_it_ends_with_its_certificate(place: Place) -> None:
    place.workloads.revoke(serial_text(place.certificate), NOW)
    assert place.ask() == "certificate_over"


def test_it_ends_when_the_certificate_expires(place: Place) -> None:
    short = certificate(minutes=10)
    place.workloads.record(Attestation("endpoint-1", "acme", "c1"), short, "c1", NOW)
    token = place.opened("openai-acme", who=Presenter(place.me.workload, thumbprint(short)))
    assert place.ask(token, now=NOW + timedelta(seconds=599)) == ""
    assert place.ask(token, now=NOW + timedelta(seconds=600)) == "certificate_over"


def test_it_ends_when_the_workload_is_disabled_or_departs(place: Place) -> None:
    place.workloads.disable("acme", "c1", NOW)
    assert place.ask() == "certificate_over"
    place.workloads.enable("acme", "c1")
    assert place.ask() == ""
    place.workloads.depart("endpoint-1", NOW)
    assert place.ask() == "certificate_over"


def test_a_certificate_that_nobody_recorded_is_nobodys(place: Place) -> None:
    token = place.opened("openai-acme", who=Presenter(place.me.workload, "u" * 43))
    assert place.ask(token) == "workload_mismatch"


def test_a_store_that_does_not_answer_denies(place: Place, database: Engine) -> None:
    workload_certificates.drop(database)
    assert place.ask() == "store_unavailable"
