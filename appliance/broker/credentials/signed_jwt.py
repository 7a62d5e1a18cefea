"""A JWT signed with RS256 (RFC 7519, RFC 7515): how apps and service accounts name themselves."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from pydantic import SecretStr

Claims = dict[str, str | int]


def signed_jwt(claims: Claims, private_key: SecretStr, key_id: str | None = None) -> str:
    """The compact form (RFC 7515 section 7.1). `private_key` is the PEM of an RSA key.

    It was checked when it was stored: to check it again would take longer than all else.
    """
    pem = private_key.get_secret_value().encode()
    key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    signed = f"{_encoded(_json(header))}.{_encoded(_json(claims))}"
    return f"{signed}.{_encoded(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _json(members: Mapping[str, str | int]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def seconds(moment: datetime) -> int:
    """A NumericDate of RFC 7519 section 2."""
    return int(moment.timestamp())
