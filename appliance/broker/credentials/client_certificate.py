"""A TLS client's key for connections to a provider: nothing goes into the request."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from appliance.broker.credentials.outgoing import CredentialError, Injection
from appliance.broker.credentials.static import mismatch

if TYPE_CHECKING:
    from appliance.broker.vault.kinds import ClientCertificate
    from appliance.policy.slot import Slot


def certificate_injection(material: ClientCertificate, slot: Slot, now: datetime) -> Injection:
    """Chain and key in PEM, which belong together since they were stored. Raises `CredentialError`."""
    if slot.style != "client-certificate":
        raise mismatch(slot)
    chain = material.certificate.encode()
    own = x509.load_pem_x509_certificates(chain)[0]
    if not own.not_valid_before_utc <= now < own.not_valid_after_utc:
        end = f"{own.not_valid_after_utc:%Y-%m-%d}"
        raise CredentialError(
            "credential-unusable", f"The client certificate is not valid now (until {end})."
        )
    key = material.private_key.get_secret_value().encode()
    return Injection(client_certificate=(chain, key), live=(key,))
