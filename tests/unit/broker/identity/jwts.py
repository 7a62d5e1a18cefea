"""Issuers' keys and tokens: good ones by joserfc, bad ones by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
SECRET = OctKey.generate_key(256)
TIME = 1_800_000_000
CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.example", "aud": "egress", "sub": "alice", "scope": "calls:write audit:read",
    "exp": TIME + 300, "iat": TIME,
}  # fmt: skip


def published(key: RSAKey | ECKey | OKPKey, **more: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "use": "sig", **more}


def token(
    key: Any = EC, algorithm: str = "ES256", header: dict[str, Any] | None = None, **claims: Any
) -> str:
    return signed(json.dumps({**CLAIMS, **claims}).encode(), key, algorithm, header)


def without(name: str) -> str:
    claims = {key: value for key, value in CLAIMS.items() if key != name}
    return signed(json.dumps(claims).encode(), EC, "ES256")


def signed(payload: bytes, key: Any, algorithm: str, header: dict[str, Any] | None = None) -> str:
    head = {"alg": algorithm, **({"kid": key.kid} if key.kid else {}), **(header or {})}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(head, payload, key, registry=registry)


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """Signed by HMAC-SHA256 with `secret`, or by nothing."""
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    signature = b"" if secret is None else hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{encoded(signature)}"


def encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
