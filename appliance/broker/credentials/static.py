"""Secrets that go into a request as they are: bearer, custom header, basic, query key.

A value that HTTP could read as more than one field is refused, and so is an empty one: a request without its
secret could mean something else to the provider.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from appliance.broker.credentials.outgoing import CredentialError, Injection

if TYPE_CHECKING:
    from appliance.broker.vault.kinds import BasicSecret
    from appliance.policy.slot import Slot

MAX_VALUE = 16 * 1024
"""Octets of a field's value."""

# Of RFC 9110 section 5.5 without tab and obs-text, and no space at either end, where a reader takes it off.
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_ONE_WORD = re.compile(r"[!-~]+")


def token_injection(token: str, slot: Slot) -> Injection:
    """One text in the slot: of a stored key, or of an exchanged access token. Raises `CredentialError`."""
    if not token:
        raise CredentialError("credential-unusable", "The secret is empty.")
    match slot.style:
        case "bearer":  # RFC 6750 section 2.1; real tokens have characters that its grammar has not
            if not _ONE_WORD.fullmatch(token):
                raise CredentialError(
                    "credential-unusable", "A bearer token has no spaces and is ASCII; the stored one is not."
                )
            return Injection(((b"authorization", field_value(f"Bearer {token}")),), live=(token.encode(),))
        case "header":
            value = field_value((slot.template or "{}").replace("{}", token))
            return Injection(((_name(slot).encode("ascii"), value),), live=(token.encode(),))
        case "basic" if slot.template is not None:
            username, _, password = slot.template.partition(":")
            return _basic(username.replace("{}", token), password.replace("{}", token), token)
        case "query":
            escaped = quote(token, safe="")
            pair = (quote(_name(slot), safe=""), escaped)
            return Injection(add_query=(pair,), live=_distinct(token.encode(), escaped.encode()))
        case _:
            raise mismatch(slot)


def basic_injection(material: BasicSecret, slot: Slot) -> Injection:
    """User name and password by RFC 7617, in UTF-8. Raises `CredentialError`."""
    if slot.style != "basic" or slot.template is not None:
        raise mismatch(slot)
    username, password = material.username.get_secret_value(), material.password.get_secret_value()
    return _basic(username, password, password or username)


def field_value(text: str) -> bytes:
    """A field's value on the wire. Raises `CredentialError`, which does not quote it."""
    if len(text) > MAX_VALUE or not _VALUE.fullmatch(text):
        raise CredentialError(
            "credential-unusable",
            "The secret cannot stand in a header field; it must be printable ASCII in one line.",
        )
    return text.encode("ascii")


def mismatch(slot: Slot) -> CredentialError:
    """The account's secret is of a kind that the definition has no place for."""
    return CredentialError(
        "credential-mismatch",
        f"The account's secret is of a kind that does not go into a slot of style {slot.style}.",
    )


def _basic(username: str, password: str, secret: str) -> Injection:
    if ":" in username:
        raise CredentialError("credential-unusable", "A user name with a colon cannot be sent (RFC 7617).")
    pair = f"{username}:{password}".encode()
    encoded = base64.b64encode(pair)
    value = field_value(f"Basic {encoded.decode()}")
    return Injection(((b"authorization", value),), live=_distinct(secret.encode(), pair, encoded))


def _name(slot: Slot) -> str:
    if not slot.name:
        raise mismatch(slot)
    return slot.name


def _distinct(*octets: bytes) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(octets))
