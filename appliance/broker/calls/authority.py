"""What authority a request brings along, and whether it may: in the slot only one of ours.

A caller's own authority in the slot, or in another place that the provider might read, is a collision
(requirement 004-16): it would decide whose request this is in place of the platform. Fields are compared in
lower case with `_` as `-`, since CGI and its heirs read both alike.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_plus

from appliance.http1.fields import Headers
from appliance.http1.target import Pairs
from appliance.policy.slot import Slot, Style

FIELDS = frozenset({
    "authorization", "proxy-authorization", "www-authorization", "x-authorization",
    "x-forwarded-authorization", "x-original-authorization", "authentication", "dpop", "cookie",
    "cookie2", "x-api-key", "api-key", "apikey", "x-apikey", "x-auth-token", "x-auth-key",
    "x-access-token", "x-token", "x-session-token", "private-token", "job-token", "deploy-token",
    "x-goog-api-key", "x-amz-security-token", "x-amz-s3session-token", "x-shopify-access-token",
    "x-figma-token", "x-vault-token", "ocp-apim-subscription-key", "x-functions-key",
    "x-ms-authorization-auxiliary", "x-registry-auth", "x-slack-user-token", "x-stripe-client-secret",
    "client-secret", "x-client-secret", "x-signature",
})  # fmt: skip
"""Where authority stands at some provider or other; a definition adds its own (`Slot.authority_fields`)."""

ISSUED = FIELDS | {"set-cookie", "set-cookie2", "x-subject-token", "authentication-info"}
"""Where a provider hands authority out: a session that it began for the account's secret is as good as that.

A caller is to hold none, and would collide with it at the next call.
"""

QUERY_KEYS = frozenset({
    "access_token", "accesstoken", "access-token", "api_key", "apikey", "api-key", "api_token",
    "apitoken", "auth", "auth_token", "authorization", "bearer", "client_secret", "id_token", "key",
    "oauth_token", "password", "private_token", "refresh_token", "secret", "session_token", "sig",
    "signature", "token", "awsaccesskeyid", "x-amz-algorithm", "x-amz-credential", "x-amz-signature",
    "x-amz-security-token", "x-goog-algorithm", "x-goog-credential", "x-goog-signature",
    "googleaccessid",
})  # fmt: skip
"""The same in a query, in lower case; a definition adds its own (`Slot.authority_query`)."""

FORM_KEYS = frozenset({
    "access_token", "oauth_token", "auth_token", "api_key", "apikey", "private_token", "job_token",
    "refresh_token", "client_secret", "awsaccesskeyid", "x-amz-signature", "x-amz-credential",
})  # fmt: skip
"""The same in a form, whose keys are data more often; a definition adds its own (`Slot.authority_query`)."""

_HANDLE = re.compile(r"hb_cred_[A-Za-z0-9_-]{32}")
_REFERENCE = re.compile(r"([a-z][a-z0-9+.-]{0,31})://([A-Za-z0-9][A-Za-z0-9._-]{0,63})")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,512}")
_BEARER = re.compile(r"(?:bearer|token) +(\S+)", re.IGNORECASE)
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
# Credential=<key id>/<date>/<region>/<service>/aws4_request (AWS Signature Version 4).
_SIGV4 = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^ ,]+)/[0-9]{8}/[a-z0-9-]+/[a-z0-9-]+/aws4_request, *\S.*"
)


class Kind(Enum):
    """What stands in the slot."""

    NOTHING = "nothing"
    HANDLE = "handle"
    REFERENCE = "reference"
    TOKEN = "token"  # noqa: S105 - a kind; of a session, or else a collision


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request brings in the slot: a handle or token as it stands, of a reference the name."""

    kind: Kind
    value: str = ""


NOTHING = Presented(Kind.NOTHING)


class Collision(Exception):
    """The request brings authority of its own; `where` is the field or key, never the value."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


def presented(
    slot: Slot,
    reference_scheme: str | None,
    headers: Headers,
    withheld: Iterable[str],
    pairs: Pairs,
    *,
    pieces: Pairs = (),
) -> Presented:
    """What stands in the slot, where nothing stands anywhere else. Raises `Collision`.

    `withheld` are names of fields that the gateway does not pass on; `pairs` the decoded query,
    `pieces` its other reading (`http1.target.query_pieces`), which may show no authority that `pairs` do not.
    """
    found: list[Presented] = []
    own_key = slot.name if slot.style == "query" else None
    own_field, ours, fields, keys = _places(
        field_of(slot), own_key, slot.placeholder_fields, slot.authority_fields, slot.authority_query
    )
    for name in withheld:
        if _folded(name) in fields:
            raise Collision(f"field {name}")
    for raw_name, raw_value in headers:
        name = _folded(raw_name.decode("ascii", "replace"))
        if name not in fields:
            continue
        if name not in ours:
            raise Collision(f"field {name}")
        style = slot.style if name == own_field else "header"
        found.append(_in_field(style, reference_scheme, name, raw_value))
    for raw_key, value in pairs:
        key = _key(raw_key)
        if key not in keys:
            continue
        if raw_key != own_key:
            raise Collision(f"query key {key}")
        found.append(_placeholder(value, reference_scheme, f"query key {key}"))
    for raw_key, value in pieces:
        if (key := _key(raw_key)) in keys and (raw_key, value) not in pairs:
            raise Collision(f"query key {key}")
    if len(found) > 1:
        raise Collision("the slot, several times")
    return found[0] if found else NOTHING


def is_issued(name: bytes) -> bool:
    """Whether an answer's field of this name may hand authority out."""
    return name.lower().replace(b"_", b"-") in _ISSUED


def in_form(slot: Slot, body: bytes) -> None:
    """A form (`application/x-www-form-urlencoded`) has authority in it? Raises `Collision`.

    RFC 6750 section 2.2 and some providers take a token there, and not all prefer the one in the field.
    """
    keys = _keys(FORM_KEYS, slot.authority_query)
    for part in body.replace(b";", b"&").split(b"&"):  # both readings: see `http1.target.query_pieces`
        key = _key(unquote_plus(part.partition(b"=")[0].decode("latin-1")))
        if key in keys:
            raise Collision(f"form key {key}")


def field_of(slot: Slot) -> str | None:
    """The header field that the slot fills, in lower case; None for a query key or a certificate."""
    match slot.style:
        case "bearer" | "basic" | "sigv4":
            return "authorization"
        case "header" | "hmac":
            return slot.name
        case _:
            return None


class _Places(NamedTuple):
    """`field` is the slot's, `ours` has the others as well; authority may stand in `fields` and `keys`."""

    field: str | None
    ours: frozenset[str]
    fields: frozenset[str]
    keys: frozenset[str]


@lru_cache(maxsize=256)
def _places(
    field: str | None,
    key: str | None,
    placeholder_fields: tuple[str, ...] | None,
    authority_fields: tuple[str, ...] | None,
    authority_query: tuple[str, ...] | None,
) -> _Places:
    """What a definition alone says, folded once for all of its calls: 35 us of a call."""
    ours = frozenset((*map(_folded, placeholder_fields or ()), *((field,) if field else ())))
    fields = ours.union(FIELDS, authority_fields or ())
    return _Places(field, ours, fields, _keys(QUERY_KEYS, authority_query, (key,) if key else ()))


def _in_field(style: Style, scheme: str | None, name: str, raw: bytes) -> Presented:
    where = f"field {name}"
    try:
        value = raw.decode("ascii")
    except UnicodeDecodeError:
        raise Collision(where) from None
    match style:
        case "bearer":
            shape = _BEARER.fullmatch(value)
        case "sigv4":
            shape = _SIGV4.fullmatch(value)
        case "basic":
            return _in_basic(value, scheme, where)
        case _:
            # Clients write the provider's own template around what they were given, or nothing at all.
            shape = (_BEARER if name == "authorization" else _ANY).fullmatch(value)
    if shape is None:
        raise Collision(where)
    return _placeholder(shape[1], scheme, where)


_TO_UNDERSCORE = re.compile(r"[-. ]")
_ANY = re.compile(r"(\S+)")
_NO_PASSWORD = frozenset({"", "x", "x-oauth-basic", "x-access-token"})
_ANY_USER = re.compile(r"[A-Za-z0-9._@+-]{0,64}")


def _in_basic(value: str, scheme: str | None, where: str) -> Presented:
    """RFC 7617: user and password. One of them is ours; the other says nothing."""
    shape = _BASIC.fullmatch(value)
    try:
        pair = base64.b64decode(shape[1], validate=True).decode("ascii") if shape else ""
    except (binascii.Error, UnicodeDecodeError):
        pair = ""
    # A reference holds colons itself: the user ends at the first one, unless it is a reference.
    reference = _REFERENCE.match(pair)
    split = reference.end() if reference and pair[reference.end() :].startswith(":") else pair.find(":")
    user, password = (pair[:split], pair[split + 1 :]) if split >= 0 else ("", "")
    if password in _NO_PASSWORD and user:
        return _placeholder(user, scheme, where)
    if _ANY_USER.fullmatch(user) and password:
        return _placeholder(password, scheme, where)
    raise Collision(where)


def _placeholder(value: str, scheme: str | None, where: str) -> Presented:
    if value == "":
        raise Collision(where)
    if _HANDLE.fullmatch(value):
        return Presented(Kind.HANDLE, value)
    reference = _REFERENCE.fullmatch(value)
    if reference is not None and scheme is not None and reference[1] == scheme:
        return Presented(Kind.REFERENCE, reference[2])
    if _TOKEN.fullmatch(value) and "://" not in value:
        return Presented(Kind.TOKEN, value)
    raise Collision(where)


def _keys(*names: Iterable[str] | None) -> frozenset[str]:
    return frozenset(_key(name) for each in names for name in each or ())


def _key(name: str) -> str:
    """As frameworks read keys: of `a[]` and `a[0]` the `a`; PHP makes `_` of a dot and of a space."""
    return _TO_UNDERSCORE.sub("_", name.strip().lower().partition("[")[0])


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


_ISSUED = frozenset(name.encode("ascii") for name in ISSUED)
