"""What single parts of a secret may be: tokens, addresses, keys, chains, as types for the kinds' models.

What is wrong with one is told by a sentence that does not quote it.
"""

from __future__ import annotations

import contextlib
import re
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from appliance.names import HostName, InvalidName, split_authority

MIN_SECRET = 8
"""Characters. What is shorter could not be taken out of an answer without tearing the answer."""
MIN_RSA_BITS = 2048

_URL = re.compile(
    r"https://([^/?#]*)(/[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*)?(\?[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*)?"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[!-~]+")
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749 section 3.3


def long_enough(value: SecretStr) -> SecretStr:
    """The secret itself. Raises `ValueError`."""
    if len(value.get_secret_value()) < MIN_SECRET:
        raise ValueError(f"shorter than {MIN_SECRET} characters; such a secret cannot be kept out of answers")
    return value


def _one_line(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if CONTROL.search(text):
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


def number_as_text(value: object) -> object:
    """Ids that JSON may have as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _scope(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("must be scopes with one space between them")
    return value


STORED = {"stored": True}
"""The context of a validation of what was validated before it was sealed."""


def _rsa_key(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.context is STORED:
        return value
    key = private_key(value)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("must be an RSA key; store the PEM text that the provider issued")  # noqa: TRY004
    if key.key_size < MIN_RSA_BITS:
        raise ValueError(f"has fewer than {MIN_RSA_BITS} bits; make a longer key")
    return value


def _any_key(value: SecretStr, info: ValidationInfo) -> SecretStr:
    if info.context is not STORED:
        private_key(value)
    return value


def private_key(value: SecretStr, *, known: bool = False) -> PrivateKeyTypes:
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


Secret = Annotated[SecretStr, AfterValidator(long_enough), AfterValidator(_one_line)]
"""One line of text."""
TokenSecret = Annotated[SecretStr, AfterValidator(long_enough), AfterValidator(_token)]
"""Visible ASCII, as RFC 6749 appendix A has for secrets and tokens (we take no spaces)."""
Url = Annotated[str, AfterValidator(_https_url)]
Scope = Annotated[str, AfterValidator(_scope), Field(max_length=4096)]
Identifier = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]
Number = Annotated[str, BeforeValidator(number_as_text), Field(pattern=r"^[1-9][0-9]{0,19}$")]
RsaPem = Annotated[SecretStr, AfterValidator(_rsa_key)]
AnyPem = Annotated[SecretStr, AfterValidator(_any_key)]
Chain = Annotated[str, AfterValidator(_chain)]
OriginUrl = Annotated[str, AfterValidator(_origin_url)]
