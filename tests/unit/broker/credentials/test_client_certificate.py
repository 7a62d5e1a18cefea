"""appliance.broker.credentials.client_certificate: chain and key go to TLS, nothing into the request."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.broker.credentials.client_certificate import certificate_injection
from appliance.broker.credentials.outgoing import CredentialError, applied
from appliance.policy.slot import Slot

from .support import NOW, RSA, RSA_PEM, material, request

SLOT = Slot(style="client-certificate")


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(RSA, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


SECRET = material("client-certificate", certificate=certificate(), private_key=RSA_PEM)


def test_chain_and_key_are_for_the_connection_and_the_key_is_live() -> None:
    injection = certificate_injection(SECRET, SLOT, NOW)
    assert injection.client_certificate == (SECRET.certificate.encode(), RSA_PEM.encode())
    assert injection.live == (RSA_PEM.encode(),)
    assert applied(request(), injection) == request()


@pytest.mark.parametrize("moment", [NOW - timedelta(seconds=1), NOW + timedelta(days=1)])
def test_a_certificate_out_of_its_time_is_not_used(moment: datetime) -> None:
    with pytest.raises(CredentialError, match="not valid now") as caught:
        certificate_injection(SECRET, SLOT, moment)
    assert caught.value.code == "credential-unusable"


def test_it_does_not_fit_another_slot() -> None:
    with pytest.raises(CredentialError) as caught:
        certificate_injection(SECRET, Slot(style="bearer"), NOW)
    assert caught.value.code == "credential-mismatch"
