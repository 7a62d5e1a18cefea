"""What a secret consists of, by kind: the models of the JSON that the vault keeps encrypted.

Everything that could be used by who reads it is a `SecretStr`: it shows in no `repr`, no error and no
traceback. What a document says wrongly is told by the name of the field alone, its value is never quoted.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
from typing import Annotated, Any, Literal, Self, assert_never

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from appliance.broker.vault.secret_fields import (
    CONTROL,
    MIN_SECRET,
    STORED,
    AnyPem,
    Chain,
    Identifier,
    Number,
    OriginUrl,
    RsaPem,
    Scope,
    Secret,
    TokenSecret,
    Url,
    long_enough,
    number_as_text,
    private_key,
)

MAX_MATERIAL = 64 * 1024
"""Octets of one document."""
GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GITHUB_API_URL = "https://api.github.com"


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, cache_strings="none")


class StaticSecret(_Kind):
    """A key or token that goes as it is where the integration says: header, bearer, query."""

    kind: Literal["static"] = "static"
    value: Secret


class BasicSecret(_Kind):
    """User name and password of RFC 7617. Where providers take a key as user name, the password is empty."""

    kind: Literal["basic"] = "basic"
    username: SecretStr
    password: SecretStr

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for part in (self.username, self.password):
            if CONTROL.search(part.get_secret_value()):  # RFC 7617 section 2
                raise ValueError("user name and password must hold no control character")
        if ":" in self.username.get_secret_value():
            raise ValueError("a user name must hold no colon (RFC 7617 section 2)")
        long_enough(self.password if self.password.get_secret_value() else self.username)
        return self


class OAuthRefresh(_Kind):
    """A refresh token (RFC 6749 section 6). A client without a secret names itself in the body."""

    kind: Literal["oauth2-refresh"] = "oauth2-refresh"
    token_url: Url
    client_id: Identifier
    client_secret: TokenSecret | None = None
    client_authentication: Literal["basic", "body"] = "basic"
    refresh_token: TokenSecret
    scope: Scope | None = None


class OAuthClientCredentials(_Kind):
    """A client that acts for itself (RFC 6749 section 4.4); `audience` is sent where one is needed."""

    kind: Literal["oauth2-client-credentials"] = "oauth2-client-credentials"
    token_url: Url
    client_id: Identifier
    client_secret: TokenSecret
    client_authentication: Literal["basic", "body"] = "basic"
    scope: Scope | None = None
    audience: Identifier | None = None


class AwsKeys(_Kind):
    """An AWS access key; `session_token` with temporary ones."""

    kind: Literal["aws"] = "aws"
    access_key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:+=@-]{3,128}$")]
    secret_access_key: TokenSecret
    session_token: TokenSecret | None = None


class GcpServiceAccount(_Kind):
    """What is needed of a Google service account's JSON key (`from_google_key` reads one)."""

    kind: Literal["gcp-service-account"] = "gcp-service-account"
    client_email: Identifier
    private_key_id: Identifier
    private_key: RsaPem
    token_url: Url = GOOGLE_TOKEN_URL
    scopes: tuple[Identifier, ...] = Field(default=(), max_length=64)
    """None: a token that the account signs itself, for the API's own host, without any exchange."""


class GithubApp(_Kind):
    """A GitHub App's key for one installation, narrowed to repositories and permissions where given."""

    kind: Literal["github-app"] = "github-app"
    app_id: Annotated[str, BeforeValidator(number_as_text), Field(pattern=r"^[A-Za-z0-9.]{1,64}$")]
    installation_id: Number
    private_key: RsaPem
    api_url: OriginUrl = GITHUB_API_URL
    repositories: tuple[Identifier, ...] = Field(default=(), max_length=500)
    permissions: dict[Identifier, Literal["read", "write", "admin"]] = Field(default={}, max_length=64)


class HmacKey(_Kind):
    """A shared key that signs requests; `encoding` says how the key's octets are written."""

    kind: Literal["hmac"] = "hmac"
    key: Secret
    encoding: Literal["text", "base64", "hex"] = "text"
    key_id: Identifier | None = None

    @model_validator(mode="after")
    def _decodes(self) -> Self:
        if len(self.octets()) < MIN_SECRET:
            raise ValueError(f"key: shorter than {MIN_SECRET} octets")
        return self

    def octets(self) -> bytes:
        """The key itself. Raises `ValueError` when the text is not in its encoding."""
        text = self.key.get_secret_value()
        octets = None
        with contextlib.suppress(ValueError):
            match self.encoding:
                case "text":
                    octets = text.encode()
                case "base64":
                    octets = base64.b64decode(text, validate=True)
                case "hex":
                    octets = bytes.fromhex(text)
                case other:
                    assert_never(other)
        if octets is None:
            raise ValueError(f"key: is not written in {self.encoding}")
        return octets


class ClientCertificate(_Kind):
    """A TLS client's certificate chain and key, for providers that know their callers by them."""

    kind: Literal["client-certificate"] = "client-certificate"
    certificate: Chain
    private_key: AnyPem

    @model_validator(mode="after")
    def _belong_together(self, info: ValidationInfo) -> Self:
        if info.context is STORED:
            return self
        own = x509.load_pem_x509_certificates(self.certificate.encode())[0].public_key()
        key = private_key(self.private_key, known=True).public_key()
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if own.public_bytes(*form) != key.public_bytes(*form):
            raise ValueError("certificate: the first one does not belong to private_key")
        return self


Material = Annotated[
    StaticSecret
    | BasicSecret
    | OAuthRefresh
    | OAuthClientCredentials
    | AwsKeys
    | GcpServiceAccount
    | GithubApp
    | HmacKey
    | ClientCertificate,
    Field(discriminator="kind"),
]

_MODELS: tuple[type[_Kind], ...] = (
    StaticSecret, BasicSecret, OAuthRefresh, OAuthClientCredentials, AwsKeys, GcpServiceAccount, GithubApp,
    HmacKey, ClientCertificate,
)  # fmt: skip
KINDS: dict[str, type[_Kind]] = {model.model_fields["kind"].default: model for model in _MODELS}
"""Every kind by its name."""

_ADAPTER: TypeAdapter[Material] = TypeAdapter(Material)


def parse_material(data: bytes, *, stored: bool = False) -> Material:
    """Read the JSON object of one secret. Raises `ValueError`: sentences that quote nothing of it.

    `stored`: it is what `dump_material` made of one that was read before, and sealed since. Its keys are not
    checked again then, which takes 40 ms of a processor for RSA with 2048 bits and 270 ms with 4096.
    """
    document = read_json(data)
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)}")
    found: Material | None = None
    wrong = ""
    try:
        found = _ADAPTER.validate_python(document, context=STORED if stored else None)
    except ValidationError as error:
        wrong = "; ".join(dict.fromkeys(_worded(fault, kind) for fault in error.errors()))
    if found is None:  # raised here, so that no exception with the document in it is its context
        raise ValueError(wrong)
    return found


def dump_material(material: Material) -> bytes:
    """The JSON that `parse_material` reads: the secret in the open, for encryption alone."""
    return json.dumps(_open(material.model_dump()), separators=(",", ":")).encode()


def given_anew(kept: Material, given: Material) -> bool:
    """Whether an operator who gives `given` says nothing new. A refresh token is the broker's to renew."""
    if isinstance(kept, OAuthRefresh) and isinstance(given, OAuthRefresh):
        given = given.model_copy(update={"refresh_token": kept.refresh_token})
    return hmac.compare_digest(dump_material(kept), dump_material(given))


_OF_GOOGLE = ("client_email", "private_key_id", "private_key")


def from_google_key(data: bytes, scopes: tuple[str, ...] = ()) -> GcpServiceAccount:
    """A service account from the JSON key that Google issues. Raises `ValueError` like `parse_material`."""
    document = read_json(data)
    if document.get("type") != "service_account":
        raise ValueError("type: must be service_account; make a JSON key of a service account")
    taken = {name: value for name, value in document.items() if name in _OF_GOOGLE}
    taken |= {"kind": "gcp-service-account", "scopes": scopes}
    if "token_uri" in document:
        taken["token_url"] = document["token_uri"]
    material = parse_material(json.dumps(taken).encode())
    assert isinstance(material, GcpServiceAccount)
    return material


def read_json(data: bytes) -> dict[str, Any]:
    """One JSON object, no member twice, at most `MAX_MATERIAL` octets. `ValueError` quotes nothing."""
    if len(data) > MAX_MATERIAL:
        raise ValueError(f"the secret has more than {MAX_MATERIAL} octets")
    document = None
    with contextlib.suppress(ValueError, RecursionError):
        document = _decoded(data.decode())
    if not isinstance(document, dict):
        raise ValueError("the secret must be a JSON object that has each member once")  # noqa: TRY004
    return document


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


_decoded = json.JSONDecoder(object_pairs_hook=_distinct).decode  # made once: 10 us of each call


def _open(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case dict():
            return {key: _open(item) for key, item in value.items()}
        case tuple() | list():
            return [_open(item) for item in value]
        case _:
            return value


_PLAIN_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_too_short": "is empty",
    "string_too_long": "is too long",
    "too_long": "has too many items",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "string_pattern_mismatch": "has a character or a form that is not allowed there",
}


def _worded(fault: Any, kind: str) -> str:
    """One fault without its value. `loc` begins with the kind; names that we did not make are not shown."""
    fields = KINDS[kind].model_fields
    place = [part for part in fault["loc"][1:2] if part in fields]
    at = f"{place[0]}: " if place else ""
    match fault["type"]:
        case "extra_forbidden":
            known = ", ".join(name for name in fields if name != "kind")
            return f"a field that {kind} does not have; its fields are {known}"
        case "value_error":
            return f"{at}{fault['ctx']['error']}"
        case "literal_error":
            return f"{at}must be one of {fault['ctx']['expected']}"
        case other:
            return f"{at}{_PLAIN_SENTENCES.get(other, 'cannot be used')}"
