"""Where and how a secret goes into a request: the part of a definition that a caller cannot choose."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from appliance.policy.documents import QueryKey, Text, distinct

Style = Literal["bearer", "header", "basic", "query", "sigv4", "hmac", "client-certificate"]
SecretKind = Literal[
    "static", "basic", "oauth2-refresh", "oauth2-client-credentials", "aws", "gcp-service-account",
    "github-app", "hmac", "client-certificate",
]  # fmt: skip

PLACEHOLDER = "{}"
TOKEN_KINDS: frozenset[SecretKind] = frozenset(
    {"static", "oauth2-refresh", "oauth2-client-credentials", "gcp-service-account", "github-app"}
)
"""Kinds of which one text comes that is the token."""
EXCHANGED_KINDS = TOKEN_KINDS - {"static"}
"""Those of them for which the token is asked of a server."""

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")  # RFC 9110 section 5.1, in lower case
_TEMPLATE = re.compile(r"[ -~]{2,128}")
_SCOPE_PART = re.compile(r"[a-z0-9-]{1,64}")
_NEEDS_NAME = frozenset({"header", "query", "hmac"})
_MAY_HAVE_TEMPLATE = frozenset({"header", "basic", "hmac"})
# The connection's own and the message's framing (RFC 9110 section 7.6.1, RFC 9112 section 6).
_NEVER_A_SLOT = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
     "proxy-connection", "expect", "content-encoding", "content-type"}
)  # fmt: skip


def _field_name(value: str) -> str:
    if not _FIELD_NAME.fullmatch(value):
        raise ValueError(f"{value!a} is no field name in lower case; write one like x-api-key")
    return value


def _scope_part(value: str) -> str:
    if not _SCOPE_PART.fullmatch(value):
        raise ValueError(f"{value!a} is no part of a credential scope; write one like s3 or eu-west-1")
    return value


def _template(value: str) -> str:
    if not _TEMPLATE.fullmatch(value) or value.count(PLACEHOLDER) != 1 or re.search("[{}]", _rest(value)):
        raise ValueError(f"{value!a} is no template; write printable text with {PLACEHOLDER} once")
    return value


def _rest(value: str) -> str:
    return value.replace(PLACEHOLDER, "")


FieldName = Annotated[Text, AfterValidator(_field_name)]
Template = Annotated[Text, AfterValidator(_template)]
FieldNames = Annotated[tuple[FieldName, ...], Field(min_length=1), AfterValidator(distinct)]
AuthorityKeys = Annotated[tuple[QueryKey, ...], Field(min_length=1), AfterValidator(distinct)]
ScopePart = Annotated[Text, AfterValidator(_scope_part)]
SignedPart = Literal["method", "host", "path", "query", "target", "timestamp", "key-id", "body", "body-hash"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hmac(_Part):
    """How a request is signed with a shared key (RFC 2104). The signature's field is the slot's `name`.

    `target` is path, and `?` and query where there is one; `body-hash` the body's digest by the same
    algorithm, in lower-case hex.
    """

    algorithm: Literal["sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    message: Annotated[tuple[SignedPart, ...], Field(min_length=1), AfterValidator(distinct)]
    separator: Annotated[str, Field(max_length=4)] = "\n"
    timestamp_field: FieldName | None = Field(None, description="gets the seconds since 1970")
    key_id_field: FieldName | None = None

    @model_validator(mode="after")
    def _sent(self) -> Hmac:
        if "timestamp" in self.message and self.timestamp_field is None:
            raise ValueError("a timestamp is signed and not sent; write timestamp_field")
        return self


class Slot(_Part):
    """Where and how the secret goes.

    bearer: `Authorization: Bearer …`. header: field `name`, its value by `template` (left out: the secret
    alone). basic: `Authorization: Basic …` (RFC 7617), of a user and a password, or of a token by `template`
    (`x-access-token:{}`). query: key `name`. sigv4: AWS Signature Version 4; `service` and `region` left out:
    as the host's name says. hmac: field `name`, see `Hmac`. client-certificate: TLS, nothing in the request.

    A caller's own authority for the provider may stand in further places, which the definition lists:
    header fields `authority_fields` and query keys `authority_query`. `placeholder_fields` are header fields
    where some of the provider's clients put what they were given as their key: a placeholder may stand in one
    of them as in the slot, nothing else may, and none of them is passed on.
    """

    style: Style
    name: Text | None = None
    template: Template | None = None
    service: ScopePart | None = None
    region: ScopePart | None = None
    hmac: Hmac | None = None
    authority_fields: FieldNames | None = None
    authority_query: AuthorityKeys | None = None
    placeholder_fields: FieldNames | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Slot:
        style = self.style
        if (self.name is not None) != (style in _NEEDS_NAME):
            raise ValueError(_both(style, "name", needed=style in _NEEDS_NAME))
        if self.template is not None and style not in _MAY_HAVE_TEMPLATE:
            raise ValueError(_both(style, "template", needed=False))
        if self.template is not None and style == "basic" and ":" not in self.template:
            raise ValueError("template of basic is user:password; write one like x-access-token:{}")
        if (self.service is not None or self.region is not None) and style != "sigv4":
            raise ValueError(_both(style, "service or region", needed=False))
        if (self.hmac is not None) != (style == "hmac"):
            raise ValueError(_both(style, "hmac", needed=style == "hmac"))
        if style == "query" and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.name or ""):
            raise ValueError(f"{self.name!a} is no plain query key; write one like access_token")
        if not _NEVER_A_SLOT.isdisjoint(self.placeholder_fields or ()):
            raise ValueError("a key never stands in a field of the connection; write the clients' own field")
        if style in {"header", "hmac"} and _field_name(self.name or "") in _NEVER_A_SLOT:
            raise ValueError(f"a secret never goes into {self.name}; write the provider's own field")
        return self

    @property
    def kinds(self) -> frozenset[SecretKind]:
        """Kinds of secrets that can go into this slot."""
        match self.style:
            case "bearer" | "header" | "query":
                return TOKEN_KINDS
            case "basic":
                return frozenset({"basic"}) if self.template is None else TOKEN_KINDS
            case "sigv4":
                return frozenset({"aws"})
            case "hmac":
                return frozenset({"hmac"})
            case "client-certificate":
                return frozenset({"client-certificate"})


def _both(style: str, key: str, *, needed: bool) -> str:
    return f"style {style} needs {key}; write it" if needed else f"style {style} has no {key}; leave it out"


STYLES: tuple[str, ...] = get_args(Style)
