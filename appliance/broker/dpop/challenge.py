"""The fields of a refusal that a client acts upon: RFC 6750 section 3, RFC 9449 sections 7.1, 8.2 and 9."""

from __future__ import annotations

import re

from appliance.broker.denied import Denied
from appliance.broker.dpop.presented import Scheme

_NOT_IN_DESCRIPTION = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750 section 3


def challenge_fields(
    denied: Denied, scheme: Scheme | None, algorithms: frozenset[str]
) -> list[tuple[bytes, bytes]]:
    """Fields for the answer. `scheme` is what the request used, None where that is not known.

    Both schemes are offered in any case, each in a field of its own; the error stands with one of them.
    """
    fields = []
    if denied.status in (400, 401):
        blamed = "DPoP" if denied.error in ("invalid_dpop_proof", "use_dpop_nonce") else scheme or "Bearer"
        algs = [("algs", " ".join(sorted(algorithms)))]
        fields += [
            (b"WWW-Authenticate", _challenge("Bearer", _said(denied) if blamed == "Bearer" else [])),
            (b"WWW-Authenticate", _challenge("DPoP", (_said(denied) if blamed == "DPoP" else []) + algs)),
        ]
    if denied.nonce is not None:
        fields += nonce_fields(denied.nonce)
    return fields


def nonce_fields(nonce: str) -> list[tuple[bytes, bytes]]:
    """Fields that give a client its next nonce; exactly one `DPoP-Nonce`, and nobody keeps the answer."""
    return [(b"DPoP-Nonce", nonce.encode("ascii")), (b"Cache-Control", b"no-store")]


def _said(denied: Denied) -> list[tuple[str, str]]:
    if not denied.error:
        return []
    description = _NOT_IN_DESCRIPTION.sub("?", denied.detail)
    return [("error", denied.error), ("error_description", description)]


def _challenge(scheme: Scheme, parameters: list[tuple[str, str]]) -> bytes:
    listed = ", ".join(f'{name}="{value}"' for name, value in parameters)
    return f"{scheme} {listed}".rstrip().encode("ascii")
