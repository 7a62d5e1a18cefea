"""What a secret consists of, by kind: the models of the JSON that the vault keeps encrypted.

Everything that could be used by who reads it is a `SecretStr`: it shows in no `repr`, no error and no
traceback. What a document says wrongly is told by the name of the field alone, its value is never quoted.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from typing import Annotated, Any, Literal, Self, assert_never

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import (
    AfterValidator,
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

from appliance.names import HostName, InvalidName, split_authority

MAX_MATERIAL = 64 * 1024
"""Octets of one document."""
MIN_SECRET = 8
"""Characters. What is shorter could not be taken out of an answer without tearing the answer."""
MIN_RSA_BITS = 2048

GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GITHUB_API_URL = "https://api.github.com"

_URL = re.compile(
    r"https://([^/?#]*)(/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*)?(\?[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*)?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[!-~]+")
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749 section 3.3


def _length(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < MIN_SECRET:
        raise ValueError(f"shorter than {MIN_SECRET} characters; such a secret cannot be kept out of answers")
    return value


def _one_line(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if _CONTROL.search(text):
        raise ValueError("holds a line break or another control character; store it without")
    if text != text.strip():
        raise ValueError("begins or ends with a space; store it without")
    return value


def _token(value: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(value.get_secret_value()):
        raise ValueError("must be visible ASCII without spaces; store it as the provider issued it")
    return value


def _https_url(value: str) -> str:
    parts = _URL.fullmatch(value)
    if not parts:
        raise ValueError(
            "must be an https:// URL without fragment; write it like https://login.example.com/token"
        )
    try:
        host, _ = split_authority(parts[1])
    except InvalidName as error:
        raise ValueError(f"names no usable host ({error.reason}); write https://name/path") from None
    if not isinstance(host, HostName):
        raise ValueError("must name its host, not give an address; write https://name/path")  # noqa: TRY004
    return value


def _origin_url(value: str) -> str:
    if "?" in value:
        raise ValueError("must have no query; write it like https://api.github.com")
    return _https_url(value).rstrip("/")


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _scope(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("must be scopes with one space between them")
    return value


_STORED = {"stored": True}
"""The context of a validation of what was validated before it was sealed."""


def _rsa_key(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.context is _STORED:
        return value
    key = _private_key(value)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("must be an RSA key; store the PEM text that the provider issued")  # noqa: TRY004
    if key.key_size < MIN_RSA_BITS:
        raise ValueError(f"has fewer than {MIN_RSA_BITS} bits; make a longer key")
    return value


def _any_key(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.context is not _STORED:
        _private_key(value)
    return value


def _private_key(value: SecretStr, *, known: bool = False) -> PrivateKeyTypes:
    """Raises `ValueError` that says nothing of the text. A `known` key is not checked again."""
    key = None
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(
            value.get_secret_value().encode(), password=None, unsafe_skip_rsa_key_validation=known
        )
    if key is None:
        raise ValueError("is no unencrypted PEM private key; store the text from -----BEGIN to END-----")
    return key


def _chain(value: str) -> str:
    found: list[x509.Certificate] = []
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        found = x509.load_pem_x509_certificates(value.encode())
    if not found or "PRIVATE KEY" in value:
        raise ValueError("must be PEM certificates and nothing else, the client's own first")
    return value


Secret = Annotated[SecretStr, AfterValidator(_length), AfterValidator(_one_line)]
"""One line of text."""
TokenSecret = Annotated[SecretStr, AfterValidator(_length), AfterValidator(_token)]
"""Visible ASCII, as RFC 6749 appendix A has for secrets and tokens (we take no spaces)."""
Url = Annotated[str, AfterValidator(_https_url)]
Scope = Annotated[str, AfterValidator(_scope), Field(max_length=4096)]
Identifier = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]
Number = Annotated[str, BeforeValidator(_number_as_text), Field(pattern=r"^[1-9][0-9]{0,19}$")]
RsaPem = Annotated[SecretStr, AfterValidator(_rsa_key)]


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
            if _CONTROL.search(part.get_secret_value()):  # RFC 7617 section 2
                raise ValueError("user name and password must hold no control character")
        if ":" in self.username.get_secret_value():
            raise ValueError("a user name must hold no colon (RFC 7617 section 2)")
        _length(self.password if self.password.get_secret_value() else self.username)
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
    app_id: Annotated[str, BeforeValidator(_number_as_text), Field(pattern=r"^[A-Za-z0-9.]{1,64}$")]
    installation_id: Number
    private_key: RsaPem
    api_url: Annotated[str, AfterValidator(_origin_url)] = GITHUB_API_URL
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
    certificate: Annotated[str, AfterValidator(_chain)]
    private_key: Annotated[SecretStr, AfterValidator(_any_key)]

    @model_validator(mode="after")
    def _belong_together(self, info: ValidationInfo) -> Self:
        if info.context is _STORED:
            return self
        own = x509.load_pem_x509_certificates(self.certificate.encode())[0].public_key()
        key = _private_key(self.private_key, known=True).public_key()
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
        found = _ADAPTER.validate_python(document, context=_STORED if stored else None)
    except ValidationError as error:
        wrong = "; ".join(dict.fromkeys(_worded(fault, kind) for fault in error.errors()))
    if found is None:  # raised here, so that no exception with the document in it is its context
        raise ValueError(wrong)
    return found


def dump_material(material: Material) -> bytes:
    """The JSON that `parse_material` reads: the secret in the open, for encryption alone."""
    return json.dumps(_open(material.model_dump()), separators=(",", ":")).encode()


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
        document = json.loads(data.decode(), object_pairs_hook=_distinct)
    if not isinstance(document, dict):
        raise ValueError("the secret must be a JSON object that has each member once")  # noqa: TRY004
    return document


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


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
