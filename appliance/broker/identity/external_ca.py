"""Enrolment at an operator's own CA instead of the broker's: asked over HTTP, believed in nothing.

    POST <url> {"csr": PEM, "spiffe_id": URI}  →  200 {"certificate": PEM, "chain": [PEM, …]}

The answer is trust material alone, at most 64 KiB; one with a private key in it is refused. The certificate
must be for the key and the name that were asked for, and lead to a root that the operator has configured: the
CA's own idea of its root does not count. Every failure is one of the fixed codes; nothing that the CA said
goes further.

The request is the container's and cannot be made anew without its key. So it has to be empty but for the key:
a CA that copies a subject or names of it would certify to its other users what the container has chosen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime

from appliance.broker.identity.bounded_answer import (
    Answer,
    AnswerTooLarge,
    AnswerTooSlow,
    read_bounded,
    within,
)
from appliance.broker.identity.certificates import requested_key
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.strict_json import parse_object
from appliance.broker.identity.verification import CertificateRefusal, Trust, judge
from appliance.broker.identity.workloads import EnrolmentRefused
from appliance.tls.authority import BACKDATED, MAX_WORKLOAD_LIFE

MAX_ANSWER = 64 * 1024
ANSWER_WITHIN = 10.0
MAX_CHAIN = 3

Post = Callable[[str, bytes], Awaitable[Answer]]
"""Sends a JSON body to a URL, over a pinned connection, following no redirect; gives the answer's head."""


class ExternalCaFault(StrEnum):
    """Stable codes."""

    TIMEOUT = "external_ca_timeout"
    UNREACHABLE = "external_ca_unreachable"
    REFUSED = "external_ca_refused"
    TOO_LARGE = "external_ca_too_large"
    MALFORMED = "external_ca_malformed"
    PRIVATE_KEY = "external_ca_private_key"
    WRONG_CERTIFICATE = "external_ca_wrong_certificate"


SENTENCES = {
    ExternalCaFault.TIMEOUT: "the external CA did not answer in time",
    ExternalCaFault.UNREACHABLE: "the external CA cannot be reached",
    ExternalCaFault.REFUSED: "the external CA did not issue a certificate",
    ExternalCaFault.TOO_LARGE: "the external CA's answer is longer than 64 KiB",
    ExternalCaFault.MALFORMED: "the external CA's answer is not of the agreed form",
    ExternalCaFault.PRIVATE_KEY: "the external CA's answer holds a private key",
    ExternalCaFault.WRONG_CERTIFICATE: "the external CA's certificate is not the one that was asked for",
}


class ExternalCaError(Exception):
    """No certificate. It carries the code, and nothing that the CA or its connection said."""

    def __init__(self, fault: ExternalCaFault) -> None:
        super().__init__(f"{fault}: {SENTENCES[fault]}")
        self.code = fault
        self.detail = SENTENCES[fault]


@dataclass(frozen=True, slots=True)
class TrustMaterial:
    """A workload's certificate and the CAs between it and the configured root."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def pem(self) -> str:
        """What the workload presents."""
        both = (self.certificate, *self.chain)
        return "".join(one.public_bytes(Encoding.PEM).decode("ascii") for one in both)


class ExternalCa:
    """One CA. `trust` holds the operator's roots for it.

    Raises `ValueError` for a URL that is not https, and for another `timeout` than one of up to ten seconds.
    """

    def __init__(
        self,
        url: str,
        trust: Trust,
        post: Post,
        clock: IReactorTime,
        now: Callable[[], datetime],
        *,
        timeout: float = ANSWER_WITHIN,
    ) -> None:
        if not url.startswith("https://"):
            raise ValueError("an external CA's address begins with https://")
        if not 0 < timeout <= ANSWER_WITHIN:
            raise ValueError(f"an external CA has {ANSWER_WITHIN:g} seconds at most, and some time")
        self._timeout = timeout
        self._url = url
        self._trust = trust
        self._post = post
        self._clock = clock
        self._now = now

    async def enrol(self, csr: bytes, identity: WorkloadId) -> TrustMaterial:
        """A certificate for `identity` and the key of `csr` (PEM).

        Raises `ExternalCaError`, or `EnrolmentRefused` (`csr_invalid`) before anybody is asked. To cancel it
        cancels the call to the CA. The certificate counts once it is recorded (`Workloads.record`).
        """
        key = requested_key(csr)
        # Written anew: PEM may have any text around it.
        plain = _without_wishes(csr).public_bytes(Encoding.PEM).decode("ascii")
        request = json.dumps({"csr": plain, "spiffe_id": identity.uri}).encode("ascii")
        payload = await self._answer(request)
        outcome = read_material(payload) if isinstance(payload, bytes) else payload
        if isinstance(outcome, TrustMaterial) and not self._is_asked_for(outcome, key, identity):
            outcome = ExternalCaFault.WRONG_CERTIFICATE
        # Raised here and not where it was found: an exception remembers the one during which it was raised.
        if isinstance(outcome, ExternalCaFault):
            raise ExternalCaError(outcome)
        return outcome

    async def _answer(self, request: bytes) -> bytes | ExternalCaFault:
        try:
            return await within(self._timeout, self._clock, self._ask(request))
        except CancelledError:
            raise
        except AnswerTooSlow:
            return ExternalCaFault.TIMEOUT
        except AnswerTooLarge:
            return ExternalCaFault.TOO_LARGE
        except Exception:  # noqa: BLE001 - whatever the connection failed with, there is no certificate
            return ExternalCaFault.UNREACHABLE

    async def _ask(self, request: bytes) -> bytes | ExternalCaFault:
        answer = await self._post(self._url, request)
        try:
            if answer.status != 200:
                return ExternalCaFault.REFUSED
            return await read_bounded(answer, MAX_ANSWER)
        finally:
            answer.abort()

    def _is_asked_for(self, material: TrustMaterial, key: object, identity: WorkloadId) -> bool:
        leaf, now = material.certificate, self._now()
        judged = judge((leaf, *material.chain), self._trust, now)
        if isinstance(judged, CertificateRefusal) or judged.id != identity:
            return False
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        return leaf.public_key() == key and life <= MAX_WORKLOAD_LIFE + BACKDATED


def read_material(payload: bytes) -> TrustMaterial | ExternalCaFault:
    """The certificates of a CA's answer; nothing has been judged of them yet."""
    if _holds_private_key(payload.decode("latin-1")):
        return ExternalCaFault.PRIVATE_KEY
    try:
        members = parse_object(payload)
    except ValueError:
        return ExternalCaFault.MALFORMED
    certificate, chain = members.get("certificate"), members.get("chain", [])
    if members.keys() - {"certificate", "chain"} or not isinstance(certificate, str):
        return ExternalCaFault.MALFORMED
    if not isinstance(chain, list) or len(chain) > MAX_CHAIN:
        return ExternalCaFault.MALFORMED
    if not all(isinstance(text, str) for text in chain):
        return ExternalCaFault.MALFORMED
    if any(_holds_private_key(text) for text in (certificate, *chain)):
        return ExternalCaFault.PRIVATE_KEY  # it stood behind JSON's escapes
    try:
        leaf, *between = [_certificate(text) for text in (certificate, *chain)]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return ExternalCaFault.MALFORMED
    return TrustMaterial(leaf, tuple(between))


def _without_wishes(csr: bytes) -> x509.CertificateSigningRequest:
    """The request, in which nothing but the key is the container's choice. Raises `EnrolmentRefused`."""
    request = x509.load_pem_x509_csr(csr)
    try:
        is_empty = not list(request.subject) and not list(request.attributes)
    except ValueError:
        is_empty = False
    if not is_empty:
        raise EnrolmentRefused(
            "csr_invalid", "the request has a subject or attributes; leave both away, the CA is told the name"
        )
    return request


def _certificate(text: str) -> x509.Certificate:
    """Exactly one, and no octet beside it. Raises `ValueError`."""
    if not _ONE_CERTIFICATE.fullmatch(text):
        raise ValueError("not one PEM certificate")
    certificate = x509.load_pem_x509_certificate(text.encode("ascii"))
    certificate.public_key()
    return certificate


def _holds_private_key(text: str) -> bool:
    return _PRIVATE_KEY.search(text) is not None


_PRIVATE_KEY = re.compile(r"PRIVATE\s+KEY", re.IGNORECASE)
_ONE_CERTIFICATE = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*", re.ASCII
)
