"""appliance.broker.identity.external_ca: asked within bounds, believed in nothing, and silent about it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AttributeOID, NameOID
from sqlalchemy import Engine
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from appliance.broker.identity.bounded_answer import Answer
from appliance.broker.identity.external_ca import (
    ANSWER_WITHIN,
    MAX_ANSWER,
    SENTENCES,
    ExternalCa,
    ExternalCaError,
    ExternalCaFault,
    TrustMaterial,
    read_material,
)
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.verification import (
    CertificateFault,
    CertificateRefusal,
    Trust,
    WorkloadGate,
    WorkloadIdentity,
)
from appliance.broker.identity.workloads import Attestation, EnrolmentRefused, Workloads
from appliance.tls.authority import new_key

from .answers import Pieces, outcome
from .peers import INSTANCE, NOW, URI, Forge, csr, make_root

FORGE, STRANGER = Forge(), Forge()
WHO = WorkloadId(INSTANCE, "acme", "c0ffee")
CANARY = "canary-6f1d"


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def payload(certificates: list[x509.Certificate] | None = None, **members: Any) -> bytes:
    leaf, *between = certificates or FORGE.chain()
    return json.dumps({"certificate": pem(leaf), "chain": [pem(one) for one in between], **members}).encode()


PRIVATE = FORGE.leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Ca:
    """The other server, and our side of it."""

    def __init__(self, body: bytes = b"", status: int = 200) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, bytes]] = []
        self.answer = Pieces(body or payload(), 1000, status)
        self.connecting: Deferred[Answer] | None = None
        self.error: Exception | None = None
        self.ours = ExternalCa("https://ca.example/sign", FORGE.trust, self.post, self.clock, lambda: NOW)

    async def post(self, url: str, body: bytes) -> Answer:
        self.asked.append((url, body))
        if self.connecting is not None:
            return await self.connecting
        if self.error is not None:
            raise self.error
        return self.answer

    def enrol(self, request: bytes | None = None) -> Any:
        return outcome(self.ours.enrol(request or csr(FORGE.leaf_key), WHO))

    def fault(self) -> ExternalCaFault:
        error = self.enrol()
        assert isinstance(error, ExternalCaError), error
        assert str(error) == f"{error.code}: {SENTENCES[error.code]}"
        return error.code


def test_a_good_answer_is_the_workloads_certificate() -> None:
    ca = Ca()
    material = ca.enrol()
    assert isinstance(material, TrustMaterial)
    assert material.certificate.public_key() == FORGE.leaf_key.public_key()
    assert x509.load_pem_x509_certificates(material.pem.encode()) == [material.certificate, FORGE.authority]
    ((url, body),) = ca.asked
    assert url == "https://ca.example/sign"
    assert json.loads(body)["spiffe_id"] == URI
    assert "PRIVATE" not in body.decode()
    assert ca.answer.aborted == 1
    assert not ca.clock.getDelayedCalls()


def test_000_33_a_certificate_of_the_external_ca_counts_once_it_is_recorded(database: Engine) -> None:
    own = make_root()
    workloads = Workloads(database)
    gate = WorkloadGate(Trust(INSTANCE, (own.certificate, FORGE.root.certificate)), workloads)
    material = Ca().enrol()
    chain = [material.certificate, *material.chain]
    before = gate.admit(chain, NOW)
    assert isinstance(before, CertificateRefusal)
    assert before.fault is CertificateFault.UNKNOWN
    workloads.record(Attestation("e1", "acme", "c0ffee"), material.certificate, WHO.workload, NOW)
    assert isinstance(gate.admit(chain, NOW), WorkloadIdentity)
    workloads.disable("acme", "c0ffee", NOW)
    after = gate.admit(chain, NOW)
    assert isinstance(after, CertificateRefusal)
    assert after.fault is CertificateFault.DISABLED


def hanging(ca: Ca, where: str) -> list[Deferred[Any]]:
    """Let the CA hang; what is cancelled is listed."""
    cancelled: list[Deferred[Any]] = []
    if where == "head":
        ca.connecting = Deferred(cancelled.append)
    else:
        ca.answer.stuck = Deferred(cancelled.append)
    return cancelled


@pytest.mark.parametrize("where", ["head", "body"])
def test_000_73_a_ca_that_hangs_is_an_error_within_the_limit(where: str) -> None:
    ca = Ca()
    cancelled = hanging(ca, where)
    seen: list[Failure] = []
    Deferred.fromCoroutine(ca.ours.enrol(csr(FORGE.leaf_key), WHO)).addErrback(seen.append)
    ca.clock.advance(ANSWER_WITHIN - 0.01)
    assert seen == []
    ca.clock.advance(0.01)
    assert isinstance(seen[0].value, ExternalCaError)
    assert seen[0].value.code is ExternalCaFault.TIMEOUT
    assert len(cancelled) == 1
    assert ca.answer.aborted == (where == "body")
    assert not ca.clock.getDelayedCalls()


def test_000_73_an_operator_may_grant_less_time_and_no_more() -> None:
    ca = Ca()
    hanging(ca, "head")
    for seconds in (0, -1.0, ANSWER_WITHIN + 0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="10 seconds at most"):
            ExternalCa("https://ca.example/", FORGE.trust, ca.post, ca.clock, lambda: NOW, timeout=seconds)
    impatient = ExternalCa("https://ca.example/", FORGE.trust, ca.post, ca.clock, lambda: NOW, timeout=2.0)
    seen: list[Failure] = []
    Deferred.fromCoroutine(impatient.enrol(csr(FORGE.leaf_key), WHO)).addErrback(seen.append)
    ca.clock.advance(2)
    assert seen[0].value.code is ExternalCaFault.TIMEOUT  # type: ignore[union-attr]  # one of ours


def test_000_73_a_ca_that_drips_is_an_error_within_the_limit() -> None:
    ca = Ca()
    drips: list[Deferred[bytes]] = []

    async def read(_most: int) -> bytes:
        drips.append(Deferred())
        return await drips[-1]

    ca.answer.read = read  # type: ignore[method-assign]  # a slower one
    seen: list[Failure] = []
    Deferred.fromCoroutine(ca.ours.enrol(csr(FORGE.leaf_key), WHO)).addErrback(seen.append)
    for _ in range(9):
        ca.clock.advance(1)
        drips[-1].callback(b" ")
    assert seen == []
    ca.clock.advance(1)
    assert seen[0].value.code is ExternalCaFault.TIMEOUT  # type: ignore[union-attr]  # one of ours
    assert ca.answer.aborted == 1


@pytest.mark.parametrize("where", ["head", "body"])
def test_000_74_who_cancels_cancels_the_call_to_the_ca_and_nothing_is_left(where: str) -> None:
    ca = Ca()
    cancelled = hanging(ca, where)
    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)
    try:
        seen: list[Failure] = []
        running = Deferred.fromCoroutine(ca.ours.enrol(csr(FORGE.leaf_key), WHO))
        running.addErrback(seen.append)
        running.cancel()
        assert isinstance(seen[0].value, CancelledError)
        assert len(cancelled) == 1
        assert ca.answer.aborted == (where == "body")
        assert not ca.clock.getDelayedCalls()
        ca.connecting = ca.answer.stuck = None
        del running
        cancelled.clear()
        gc.collect()
        # A deferred that fails and has nobody to tell says so in the log when it is collected.
        assert told == []
    finally:
        globalLogPublisher.removeObserver(told.append)


ERRORS = [ConnectError(None, CANARY), ConnectionRefusedError(CANARY), ConnectionLost(CANARY), ConnectionResetError(CANARY), DNSLookupError(CANARY),
          OSError(CANARY), ValueError(CANARY), RuntimeError(CANARY)]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_000_75_a_ca_that_cannot_be_reached_enrols_nobody(error: Exception) -> None:
    ca = Ca()
    ca.error = error
    assert ca.fault() is ExternalCaFault.UNREACHABLE


def test_000_75_a_connection_that_breaks_in_the_body_enrols_nobody() -> None:
    ca = Ca()
    ca.answer.stuck = Deferred()
    seen: list[Failure] = []
    Deferred.fromCoroutine(ca.ours.enrol(csr(FORGE.leaf_key), WHO)).addErrback(seen.append)
    ca.answer.stuck.errback(ConnectionLost(CANARY))
    assert seen[0].value.code is ExternalCaFault.UNREACHABLE  # type: ignore[union-attr]  # one of ours
    assert ca.answer.aborted == 1


@pytest.mark.parametrize("status", [100, 201, 204, 301, 302, 400, 403, 500, 503])
def test_000_75_any_answer_but_200_enrols_nobody(status: int) -> None:
    ca = Ca(status=status)
    assert ca.fault() is ExternalCaFault.REFUSED
    assert ca.answer.given == 0
    assert ca.answer.aborted == 1


LEAF = pem(FORGE.leaf(URI))


@pytest.mark.parametrize(
    "body",
    [b" ", b"[]", b"null", b'"x"', b"7", b"{}", b"<html>", b"\xff\xfe", b"[" * 60_000, json.dumps({"certificate": 7}).encode(),
     json.dumps({"certificate": [LEAF]}).encode(), json.dumps({"certificate": ""}).encode(),
     json.dumps({"certificate": "no PEM"}).encode(), json.dumps({"certificate": LEAF, "chain": LEAF}).encode(),
     json.dumps({"certificate": LEAF, "chain": [7]}).encode(), json.dumps({"certificate": LEAF, "chain": None}).encode(),
     json.dumps({"certificate": LEAF, "chain": [""]}).encode(), json.dumps({"certificate": LEAF + LEAF}).encode(),
     json.dumps({"certificate": "garbage " + LEAF}).encode(), json.dumps({"certificate": LEAF, "chain": [LEAF] * 4}).encode(),
     json.dumps({"certificate": LEAF, "root": LEAF}).encode(), json.dumps({"chain": [LEAF]}).encode(),
     json.dumps({"certificate": LEAF.replace("CERTIFICATE", "PUBLIC KEY")}).encode(),
     json.dumps({"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}).encode(),
     json.dumps({"certificate": LEAF})[:-1].encode(), b'{"certificate":"a","certificate":"b"}'],
)  # fmt: skip
def test_000_76_an_answer_of_another_form_enrols_nobody(body: bytes) -> None:
    assert Ca(body).fault() is ExternalCaFault.MALFORMED


@pytest.mark.parametrize(
    "chain",
    [
        lambda: STRANGER.chain(URI),
        lambda: [*STRANGER.chain(URI), STRANGER.root.certificate],
        lambda: FORGE.chain("spiffe://lab/tenant/beta/workload/c0ffee"),
        lambda: FORGE.chain("spiffe://lab/tenant/acme/workload/other"),
        lambda: FORGE.chain("spiffe://lab/gateway/w0"),
        lambda: FORGE.chain("spiffe://other/tenant/acme/workload/c0ffee"),
        lambda: FORGE.chain(URI, URI),
        lambda: FORGE.chain(usages=[]),
        lambda: FORGE.chain(ca=True),
        lambda: FORGE.chain(end=timedelta(minutes=-1)),
        lambda: FORGE.chain(end=timedelta(hours=24, seconds=1)),
        lambda: FORGE.chain()[:1],
        lambda: [FORGE.authority],
    ],
    ids=["other-ca", "its-own-root", "other-tenant", "other-workload", "gateway", "other-domain", "two-names", "no-eku",
         "ca", "expired", "too-long", "no-chain", "the-ca"],
)  # fmt: skip
def test_000_76_another_certificate_than_the_one_asked_for_enrols_nobody(
    chain: Callable[[], list[x509.Certificate]],
) -> None:
    assert Ca(payload(chain())).fault() is ExternalCaFault.WRONG_CERTIFICATE


def test_000_76_a_certificate_for_another_key_enrols_nobody() -> None:
    error = Ca().enrol(csr(new_key()))
    assert isinstance(error, ExternalCaError)
    assert error.code is ExternalCaFault.WRONG_CERTIFICATE


def everything(error: BaseException | None) -> str:
    """All that an error carries: itself, and those that it remembers."""
    text = ""
    while error is not None:
        text += repr(error) + str(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return text


def test_000_77_what_the_ca_says_reaches_neither_client_nor_log() -> None:
    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)
    codes = set()
    try:
        worlds = [Ca(f'{{"error": "{CANARY}"}}'.encode()), Ca(CANARY.encode()), Ca(CANARY.encode(), 500),
                  Ca(payload(extra=CANARY)), Ca(payload(certificate=CANARY)), Ca((CANARY * 10_000).encode())]  # fmt: skip
        for error in ERRORS:
            worlds.append(Ca())
            worlds[-1].error = error
        for ca in worlds:
            found = ca.enrol()
            assert isinstance(found, ExternalCaError)
            assert CANARY not in everything(found)
            assert CANARY not in Failure(found).getTraceback()
            codes.add(found.code)
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert CANARY not in repr(told)
    assert codes <= set(ExternalCaFault)
    assert len(codes) == 4


@pytest.mark.parametrize(
    "body",
    [payload(private_key=PRIVATE), payload(key=PRIVATE.replace("PRIVATE KEY", "EC PRIVATE KEY")),
     payload(certificate=LEAF + PRIVATE), payload(chain=[PRIVATE]), PRIVATE.encode(), payload() + PRIVATE.encode(),
     payload(key="-----BEGIN ENCRYPTED PRIVATE KEY-----"), payload(key="-----begin openssh private key-----"),
     payload(certificate=LEAF + PRIVATE).replace(b"PRIVATE", b"\\u0050RIVATE"),
     payload(chain=[PRIVATE]).replace(b"PRIVATE KEY", b"PRIVATE\\u0020KEY")],
    ids=["member", "ec", "behind-the-certificate", "in-the-chain", "alone", "behind-the-object", "encrypted", "openssh",
         "escaped", "escaped-space"],
)  # fmt: skip
def test_000_78_an_answer_with_a_private_key_is_refused(body: bytes) -> None:
    error = Ca(body).enrol()
    assert isinstance(error, ExternalCaError)
    assert error.code is ExternalCaFault.PRIVATE_KEY
    assert PRIVATE.splitlines()[1] not in everything(error)


def test_000_79_an_answer_of_64_kib_is_read_and_one_octet_more_is_not_buffered() -> None:
    good = payload()
    exactly = Ca(good + b" " * (MAX_ANSWER - len(good)))
    assert isinstance(exactly.enrol(), TrustMaterial)
    one_more = Ca(good + b" " * (MAX_ANSWER - len(good) + 1))
    assert one_more.fault() is ExternalCaFault.TOO_LARGE
    endless = Ca(b" " * (100 * MAX_ANSWER))
    assert endless.fault() is ExternalCaFault.TOO_LARGE
    assert endless.answer.given == MAX_ANSWER + 1
    assert endless.answer.aborted == 1
    assert MAX_ANSWER == 65536


def test_a_bad_request_is_refused_before_anybody_is_asked() -> None:
    ca = Ca()
    error = ca.enrol(b"nonsense")
    assert isinstance(error, EnrolmentRefused)
    assert error.code == "csr_invalid"
    assert ca.asked == []


def test_of_a_request_nothing_but_the_request_goes_out() -> None:
    ca = Ca()
    request = csr(FORGE.leaf_key)
    assert isinstance(ca.enrol(b"\xff\x00 " + CANARY.encode() + b"\n" + request), TrustMaterial)
    ((_url, body),) = ca.asked
    assert json.loads(body)["csr"] == request.decode()


ADMIN = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:admin")])
EMPTY = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))


@pytest.mark.parametrize(
    "wish",
    [
        EMPTY.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("vault.corp.example")]), critical=False
        ),
        EMPTY.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        EMPTY.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"x"),
        x509.CertificateSigningRequestBuilder().subject_name(ADMIN),
    ],
    ids=["name", "ca", "attribute", "subject"],
)
def test_000_76_a_container_chooses_nothing_that_the_ca_might_certify(
    wish: x509.CertificateSigningRequestBuilder,
) -> None:
    ca = Ca()
    error = ca.enrol(wish.sign(FORGE.leaf_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    assert isinstance(error, EnrolmentRefused)
    assert error.code == "csr_invalid"
    assert ca.asked == []


def test_a_ca_is_not_asked_in_the_clear() -> None:
    with pytest.raises(ValueError):
        ExternalCa("http://ca.example/sign", FORGE.trust, Ca().post, Clock(), lambda: NOW)


def test_every_fault_has_a_sentence() -> None:
    assert set(SENTENCES) == set(ExternalCaFault)
    assert isinstance(read_material(payload()), TrustMaterial)
