"""DPoP proofs: judged or denied, whatever the bytes; and what passes is what a second reader (joserfc) verifies."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key

from appliance.broker.denied import Denied
from appliance.broker.dpop.keys import ALGORITHMS
from appliance.broker.dpop.presented import read_presented
from appliance.broker.dpop.proof import Expected, ForToken, Judged, Window, access_token_hash, judge_proof
from appliance.broker.dpop.target import InvalidTarget, TargetUri
from tests.vectors import dpop as rfc

NOW, TOKEN, URI, NONCE = 1_800_000_000, "the-token", "https://broker.example/execute", "the-nonce"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def _b64(octets: bytes) -> bytes:
    return urlsafe_b64encode(octets).rstrip(b"=")


JWK = {
    "crv": "Ed25519",
    "kty": "OKP",
    "x": _b64(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode(),
}
JKT = _b64(hashlib.sha256(json.dumps(JWK, separators=(",", ":")).encode()).digest()).decode()
EXPECTED = Expected(
    "POST", TargetUri.parse(URI), ForToken(TOKEN, JKT), NOW, Window(), ALGORITHMS, (NONCE, "the-last-nonce")
)
OF_THE_RFC = Expected(
    "GET", TargetUri.parse("https://resource.example.org/protectedresource"), ForToken(rfc.TOKEN, rfc.JKT), 1562262618,
    Window(), ALGORITHMS, (),
)  # fmt: skip

HEADER: dict[str, Any] = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": JWK}
CLAIMS: dict[str, Any] = {
    "jti": "jti-1", "htm": "POST", "htu": URI, "iat": NOW, "ath": access_token_hash(TOKEN), "nonce": NONCE,
}  # fmt: skip


def _signed(header: Any, claims: Any) -> bytes:
    texts = (each if isinstance(each, str) else json.dumps(each) for each in (header, claims))
    return b"\x01" + b"\n".join(text.encode() for text in texts)


SEEDS = (
    b"\x00" + rfc.FOR_TOKEN.encode(),
    b"\x00" + rfc.FOR_NEW_TOKEN.encode(),
    _signed(HEADER, CLAIMS),
    _signed(HEADER | {"alg": "Ed25519", "jwk": JWK | {"kid": "1", "use": "sig"}}, CLAIMS | {"htu": "HTTPS://Broker.Example:443/./%65xecute?x#y"}),
    _signed(HEADER | {"jwk": JWK | {"d": "AA"}}, CLAIMS),
    _signed(HEADER | {"alg": "none"}, CLAIMS),
    _signed(HEADER | {"crit": ["exp"]}, CLAIMS),
    _signed(HEADER, CLAIMS | {"iat": 1e300, "exp": NOW + 1, "nbf": NOW}),
    _signed(HEADER, '{"jti":"a","jti":"b"}'),
    _signed(HEADER, "[" * 900),
    _signed(HEADER | {"jwk": rfc.KEY}, CLAIMS | {"jti": "\ud800"}),
    b"\x02https://a:b@broker.example:443/a/../%7euser?x#y",
    b"\x02http://[2001:db8::1]:/x",
    b"\x03authorization: DPoP the-token\ndpop: x\ndpop: y\nproxy-authorization: dpop z",
    b"\x03authorization: Bearer x, DPoP y",
)  # fmt: skip
TOKENS = (
    *(f'"{name}":'.encode() for name in (*HEADER, *CLAIMS, *JWK, "d", "k", "crit", "b64", "exp", "nbf", "use", "key_ops", "y", "n", "e")),
    b'"dpop+jwt"', b'"EdDSA"', b'"Ed25519"', b'"ES256"', b'"PS256"', b'"RSA"', b'"EC"', b'"P-256"', b"1800000000", b"1e999", b"NaN", b"true", b"null",
    b"\\ud800", b"\\u0000", b"\n", b"https://", b"http://", b"%2e%2e/", b"%2F", b"//", b":443", b"@", b"?", b"#", b"..;/", b"[::1]", b"DPoP ", b"Bearer ",
)  # fmt: skip


def one(data: bytes) -> None:
    """0: a proof as it stands; 1: header and claims, signed; 2: a URI; 3: fields of a request."""
    if not data:
        return
    kind, rest = data[0] & 3, data[1:]
    if kind == 0:
        _judge(rest.decode("latin-1"), OF_THE_RFC)
    elif kind == 1:
        header, _, claims = rest.partition(b"\n")
        signed = _b64(header) + b"." + _b64(claims)
        _judge((signed + b"." + _b64(KEY.sign(signed))).decode(), EXPECTED)
    elif kind == 2:
        _check_target(rest.decode("latin-1"))
    else:
        _check_fields(rest)


def _judge(text: str, expected: Expected) -> None:
    try:
        judged = judge_proof(text, expected)
    except Denied as error:
        _check_denied(error, (401,))
        return
    _check_passed(text, judged, expected)


_OF_KEYS = {"kty", "crv", "x", "y", "n", "e"}


class _Lax(jws.JWSRegistry):
    """Without what joserfc demands of members that RFC 7515 section 4 has ignored, and with any header's size."""

    max_header_length = 8192

    def check_header(self, header: dict[str, Any]) -> None:
        """Nothing."""


def _check_denied(error: Denied, statuses: tuple[int, ...]) -> None:
    assert error.status in statuses
    assert re.fullmatch("[a-z_]+", error.reason)
    assert error.detail.isascii()
    assert (error.nonce is not None) == (error.error == "use_dpop_nonce")


def _check_passed(text: str, judged: Judged, expected: Expected) -> None:
    purpose = expected.purpose
    assert isinstance(purpose, ForToken)
    assert judged.jkt == purpose.jkt
    # The second reader verifies with the key of the header, which it makes anew, and by its own JSON.
    header = json.loads(_octets(text.split(".", maxsplit=1)[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # it would like Ed25519 better than EdDSA
        key = import_key({name: value for name, value in header["jwk"].items() if name in _OF_KEYS})
        read = jws.deserialize_compact(text, key, registry=_Lax(algorithms=[header["alg"]]))
    assert read.headers() == header
    assert header["typ"] == "dpop+jwt"
    assert not {"d", "p", "q", "k", "oth"} & set(header["jwk"])
    claims = json.loads(read.payload)
    assert claims["jti"] == judged.jti
    assert claims["htm"] == expected.method
    assert TargetUri.parse(claims["htu"]) == expected.target
    assert -60 <= claims["iat"] - expected.now <= 5
    assert claims["ath"] == access_token_hash(purpose.token)
    assert not expected.nonces or claims["nonce"] in expected.nonces


def _octets(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _check_target(text: str) -> None:
    with suppress(InvalidTarget):
        target = TargetUri.parse(text)
        assert TargetUri.parse(target.text) == target
        assert target.text.isascii()
        scheme, _, rest = target.text.partition("://")
        assert scheme in ("http", "https")
        authority, slash, path = rest.partition("/")
        assert slash
        assert "@" not in authority
        assert authority == authority.lower()
        assert not authority.endswith(":80" if scheme == "http" else ":443")
        assert not {"", ".", ".."} & set(path.split("/")[:-1])
        assert not set(path) & set("?#\\ ")


def _check_fields(rest: bytes) -> None:
    fields = []
    for line in rest.split(b"\n"):
        name, _, value = line.partition(b":")
        fields.append((name, value.strip()))
    try:
        found = read_presented(fields)
    except Denied as error:
        _check_denied(error, (400, 401))
        return
    names = [name.lower() for name, _ in fields]
    assert names.count(b"authorization") == 1
    assert len(found.proofs) == names.count(b"dpop")
    assert re.fullmatch("[A-Za-z0-9._~+/-]+=*", found.token)
