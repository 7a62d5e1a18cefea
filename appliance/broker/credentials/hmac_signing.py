"""Requests signed with a shared key (RFC 2104), in the form that an integration's definition describes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import TYPE_CHECKING

from appliance.broker.credentials.outgoing import CredentialError, Injection
from appliance.broker.credentials.signed_jwt import seconds
from appliance.broker.credentials.static import field_value, mismatch

if TYPE_CHECKING:
    from appliance.broker.credentials.outgoing import Outgoing
    from appliance.broker.vault.kinds import HmacKey
    from appliance.policy.slot import Hmac, Slot


def hmac_injection(material: HmacKey, slot: Slot, outgoing: Outgoing, now: datetime) -> Injection:
    """Signature, timestamp and key's name in their fields. Raises `CredentialError`."""
    form = slot.hmac
    if form is None or not slot.name:
        raise mismatch(slot)
    wants_name = "key-id" in form.message or form.key_id_field is not None
    if wants_name and material.key_id is None:
        raise CredentialError(
            "credential-mismatch", "The definition wants a key_id, which the secret has not."
        )
    timestamp = str(seconds(now))
    parts = [_part(name, form, outgoing, timestamp, material.key_id or "") for name in form.message]
    digest = hmac.digest(material.octets(), form.separator.encode().join(parts), form.algorithm)
    signature = digest.hex() if form.encoding == "hex" else base64.b64encode(digest).decode()
    fields = [(slot.name, (slot.template or "{}").replace("{}", signature))]
    if form.timestamp_field is not None:
        fields.append((form.timestamp_field, timestamp))
    if form.key_id_field is not None:
        fields.append((form.key_id_field, material.key_id or ""))
    return Injection(
        tuple((name.encode("ascii"), field_value(value)) for name, value in fields),
        live=(material.octets(), signature.encode()),
    )


def _part(name: str, form: Hmac, outgoing: Outgoing, timestamp: str, key_id: str) -> bytes:
    match name:
        case "method":
            return outgoing.method.encode()
        case "host":
            return outgoing.authority.encode()
        case "path":
            return outgoing.path.encode()
        case "query":
            return outgoing.query.encode()
        case "target":
            return outgoing.target.encode()
        case "timestamp":
            return timestamp.encode()
        case "key-id":
            return key_id.encode()
        case "body":
            return _body(outgoing)
        case "body-hash":
            return hashlib.new(form.algorithm, _body(outgoing)).hexdigest().encode()
        case _:
            raise CredentialError("credential-mismatch", "The definition signs a part that is not known.")


def _body(outgoing: Outgoing) -> bytes:
    if outgoing.body is None:
        raise CredentialError("body-not-known", "The signature covers the body, which is streamed.")
    return outgoing.body
