"""AWS Signature Version 4 over exactly what goes on the wire, with the account's own key.

An SDK in a container signs as well, with a key that is none: its access key id is a handle or a reference
(`placeholder_of` reads it). That signature is no authority and is replaced: `Authorization`, `X-Amz-Date` and
`X-Amz-Content-SHA256` are set anew, a caller's `X-Amz-Security-Token` is dropped. A signature under any
other access key id is an authority of the caller's own and collides, and so does one in the query (a
presigned URL); who judges collisions refuses both before, and here a presigned request is not signed either.

Sources: AWS IAM User Guide, "Create a signed AWS API request"; Amazon S3 API Reference, "Authenticating
Requests (AWS Signature Version 4)". The signature itself is computed by botocore.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from appliance.broker.credentials.aws_hosts import Scope, scope_of
from appliance.broker.credentials.outgoing import CredentialError, Injection
from appliance.broker.credentials.static import mismatch

if TYPE_CHECKING:
    from appliance.broker.credentials.outgoing import Outgoing
    from appliance.broker.vault.kinds import AwsKeys
    from appliance.policy.slot import Slot

S3_SERVICES = frozenset({"s3", "s3-object-lambda", "s3-outposts"})
UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_WITH_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
MAX_AUTHORIZATION = 4096

_PLACEHOLDER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([!-+\--~]+)/[0-9]{8}/[a-z0-9-]+/[a-z0-9-]+/aws4_request,"
    r" ?SignedHeaders=[a-z0-9!#$&^_.+;-]+, ?Signature=[0-9a-f]{64}"
)
_HASH = re.compile(r"[0-9a-f]{64}")
_SIGNABLE = re.compile(r"[ -~\t]*")
_NOT_OF_A_PATH = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~/]")
_NOT_OF_A_QUERY = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~]")
_PRESIGNED = frozenset(
    {"x-amz-algorithm", "x-amz-credential", "x-amz-signature", "x-amz-security-token",
     "x-amz-s3session-token", "awsaccesskeyid"}
)  # fmt: skip
_OURS = (b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token")
# What a connection or an intermediary may still change; botocore leaves out more of this kind itself.
_NEVER_SIGNED = frozenset(
    {b"accept-encoding", b"content-length", b"via", b"forwarded", b"x-forwarded-for",
     b"authorization", b"host"}
)  # fmt: skip


def placeholder_of(authorization: str) -> str | None:
    """The access key id of a whole SigV4 `Authorization` value, else None. It may have slashes."""
    if len(authorization) > MAX_AUTHORIZATION:
        return None
    parts = _PLACEHOLDER.fullmatch(authorization)
    return parts[1] if parts else None


def sigv4_injection(material: AwsKeys, slot: Slot, outgoing: Outgoing, now: datetime) -> Injection:
    """The fields of a signed request. Raises `CredentialError`."""
    if slot.style != "sigv4":
        raise mismatch(slot)
    service, region = _scope(slot, outgoing.host)
    secret = material.secret_access_key.get_secret_value()
    session = material.session_token.get_secret_value() if material.session_token else None
    is_s3 = service in S3_SERVICES
    fields = {b"x-amz-date": now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")}
    if session is not None:
        fields[b"x-amz-security-token"] = session
    if is_s3:
        fields[b"x-amz-content-sha256"] = _s3_payload(outgoing)
    elif any(name.lower() == b"x-amz-content-sha256" for name, _ in outgoing.headers):
        fields[b"x-amz-content-sha256"] = hashlib.sha256(_whole_body(outgoing)).hexdigest()
    request = _to_sign(outgoing, fields, s3=is_s3)
    signer = (S3SigV4Auth if is_s3 else SigV4Auth)(
        Credentials(material.access_key_id, secret, session), service, region
    )
    request.context["timestamp"] = fields[b"x-amz-date"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signature = signer.signature(to_sign, request)
    signed = signer.signed_headers(signer.headers_to_sign(request))
    fields[b"authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={signed}, Signature={signature}"
    )
    live = [secret, signature, *([session] if session is not None else [])]
    return Injection(
        set_headers=tuple((name, value.encode("ascii")) for name, value in fields.items()),
        live=tuple(text.encode() for text in live),
        drop_headers=tuple(name for name in _OURS if name not in fields),
    )


def _scope(slot: Slot, host: str) -> tuple[str, str]:
    said = Scope(slot.service, slot.region)
    if said.service is None or said.region is None:
        of_host = scope_of(host)
        said = Scope(said.service or of_host.service, said.region or of_host.region)
    if said.service is None or said.region is None:
        raise CredentialError(
            "slot-unclear", "The host does not say service and region; write both in the definition's slot."
        )
    return said.service, said.region


def _to_sign(outgoing: Outgoing, fields: dict[bytes, str], *, s3: bool) -> AWSRequest:
    """The request for botocore's signer: what that takes as it is, stands here in AWS's canonical form."""
    path = _canonical_s3_path(outgoing.path) if s3 else outgoing.path
    query = _canonical_query(outgoing.query)
    authority = outgoing.authority
    request = AWSRequest(outgoing.method, f"{outgoing.scheme}://{authority}{path}{query and '?'}{query}")
    for name, value in outgoing.headers:
        lower = name.lower()
        if lower in _NEVER_SIGNED or lower in _OURS:
            continue
        text = value.decode("latin-1")
        if _SIGNABLE.fullmatch(text):
            request.headers[lower.decode("latin-1")] = text
        elif lower.startswith(b"x-amz-") or lower == b"content-type":  # AWS wants these signed
            raise CredentialError(
                "credential-unusable",
                "A header field that has to be signed holds what is not printable ASCII.",
            )
    request.headers["host"] = authority
    for name, text in fields.items():
        request.headers[name.decode()] = text
    if not s3:
        request.data = _whole_body(outgoing)
    return request


def _whole_body(outgoing: Outgoing) -> bytes:
    if outgoing.body is None:
        raise CredentialError("body-not-known", "The signature covers the body, which is streamed.")
    return outgoing.body


def _s3_payload(outgoing: Outgoing) -> str:
    """What S3 is told of the body: its real hash; of a streamed one the caller's, or that TLS protects it."""
    said = [value for name, value in outgoing.headers if name.lower() == b"x-amz-content-sha256"]
    text = said[0].decode("latin-1") if len(said) == 1 else ""
    if text == UNSIGNED_WITH_TRAILER:  # the body is in chunks of AWS's own, `aws-chunked`
        return _over_tls(outgoing, UNSIGNED_WITH_TRAILER)
    if text.startswith("STREAMING-"):
        raise CredentialError(
            "credential-unusable",
            "The body's chunks are signed by the caller; switch payload signing off in the SDK.",
        )
    if outgoing.body is not None:
        return hashlib.sha256(outgoing.body).hexdigest()
    if _HASH.fullmatch(text):
        return text  # S3 compares it with the body
    return _over_tls(outgoing, UNSIGNED)


def _over_tls(outgoing: Outgoing, payload: str) -> str:
    if outgoing.scheme != "https":
        raise CredentialError(
            "body-not-known", "Without TLS the signature covers the body, which is streamed."
        )
    return payload


def _canonical_s3_path(path: str) -> str:
    """S3 decodes the key and encodes it anew, once; an escaped slash would be read in two ways."""
    if "%2F" in path.upper():
        raise CredentialError("credential-unusable", "An escaped slash in an S3 key cannot be signed.")
    return _NOT_OF_A_PATH.sub(_escaped, path)


def _canonical_query(query: str) -> str:
    """Keys and values as in the canonical query string: all but unreserved characters escaped."""
    if "+" in query:
        raise CredentialError(
            "credential-unusable", "A plus sign in the query is read in two ways; write %20 or %2B."
        )
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if any(key.lower() in _PRESIGNED for key, _, _ in pairs):
        raise CredentialError(
            "credential-unusable", "The request is presigned; send it without X-Amz-… keys."
        )
    return "&".join(
        f"{_NOT_OF_A_QUERY.sub(_escaped, key)}={_NOT_OF_A_QUERY.sub(_escaped, value)}"
        for key, _, value in pairs
    )


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    return text.upper() if len(text) == 3 else "".join(f"%{octet:02X}" for octet in text.encode())
