"""appliance.broker.vault.kinds: what is stored is whole, and what is wrong with it is told without quoting it."""

from __future__ import annotations

import contextlib
import json
import re
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.vault.kinds import (
    KINDS,
    MAX_MATERIAL,
    BasicSecret,
    GcpServiceAccount,
    GithubApp,
    HmacKey,
    Material,
    StaticSecret,
    dump_material,
    from_google_key,
    given_anew,
    parse_material,
)

CANARY = "canary-Zq81uXw0"
NOW = datetime(2026, 6, 1, tzinfo=UTC)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def pem_of(key: Key, passphrase: bytes | None = None) -> str:
    sealed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()


def certificate_of(key: Key) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


RSA = rsa.generate_private_key(65537, 2048)
SMALL_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
RSA_PEM, EC_PEM, CERTIFICATE = pem_of(RSA), pem_of(EC), certificate_of(EC)

WHOLE: dict[str, dict[str, Any]] = {
    "static": {"value": CANARY},
    "basic": {"username": "alice", "password": CANARY},
    "oauth2-refresh": {
        "token_url": "https://login.example.com/token",
        "client_id": "app",
        "client_secret": CANARY,
        "refresh_token": CANARY,
        "scope": "read write",
    },
    "oauth2-client-credentials": {
        "token_url": "https://login.example.com:8443/token?v=2",
        "client_id": "app",
        "client_secret": CANARY,
    },
    "aws": {"access_key_id": "AKIDEXAMPLEEXAMPLE00", "secret_access_key": CANARY, "session_token": CANARY},
    "gcp-service-account": {
        "client_email": "a@b.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": RSA_PEM,
        "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
    },
    "github-app": {
        "app_id": 12,
        "installation_id": 34,
        "private_key": RSA_PEM,
        "permissions": {"contents": "read"},
    },
    "hmac": {"key": CANARY, "key_id": "k1"},
    "client-certificate": {"certificate": CERTIFICATE, "private_key": EC_PEM},
}


def document(kind: str, **changed: Any) -> bytes:
    fields = {"kind": kind, **WHOLE[kind], **changed}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def refused(data: bytes) -> str:
    """The sentence, after it was seen that neither it nor its traceback quotes what is secret."""
    with pytest.raises(ValueError) as caught:
        parse_material(data)
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for secret in (CANARY, RSA_PEM[40:80], EC_PEM[40:80]):
        assert secret not in shown
    return str(caught.value)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_read_and_written_back(kind: str) -> None:
    material = parse_material(document(kind))
    assert material.kind == kind
    assert parse_material(dump_material(material)) == material
    again = json.loads(dump_material(material))
    assert {name: again[name] for name in WHOLE[kind] if name not in ("app_id", "installation_id")} == {
        name: value for name, value in WHOLE[kind].items() if name not in ("app_id", "installation_id")
    }


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_form_that_is_printed_shows_the_secret(kind: str) -> None:
    material = parse_material(document(kind))
    shown = repr(material) + str(material) + material.model_dump_json() + repr(material.model_dump())
    for secret in (CANARY, RSA_PEM.splitlines()[1], EC_PEM.splitlines()[1]):
        assert secret not in shown


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_field_that_the_kind_does_not_have_is_refused_by_telling_those_it_has(kind: str) -> None:
    sentence = refused(document(kind, **{f"x{CANARY}": CANARY}))
    assert sentence.startswith(f"a field that {kind} does not have; its fields are ")
    assert next(iter(WHOLE[kind])) in sentence


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_missing_field_is_named(kind: str) -> None:
    needed = next(iter(WHOLE[kind]))
    assert refused(document(kind, **{needed: ...})) == f"{needed}: is missing"


@pytest.mark.parametrize("kind", [CANARY, None, 7, ["static"], "STATIC", ""])
def test_an_unknown_kind_is_answered_with_those_that_are_known(kind: object) -> None:
    sentence = refused(json.dumps({"kind": kind, "value": CANARY}).encode())
    assert sentence == f"kind: must be one of {', '.join(KINDS)}"


@pytest.mark.parametrize(
    "data",
    [
        CANARY.encode(),
        b'"' + CANARY.encode() + b'"',
        b'["' + CANARY.encode() + b'"]',
        b'{"kind":"static","value":"' + CANARY.encode() + b'","value":"' + CANARY.encode() + b'"}',
        CANARY.encode() + b"\xff",
        b"[" * 60_000,
        b"",
    ],
)
def test_what_is_no_object_with_each_member_once_is_refused(data: bytes) -> None:
    assert refused(data) == "the secret must be a JSON object that has each member once"


def test_more_than_the_largest_secret_is_refused() -> None:
    assert refused(document("static", value="x" * MAX_MATERIAL)) == "the secret has more than 65536 octets"


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/token",
        "HTTPS://login.example.com/token",
        "https://login.example.com/token#part",
        "https:///token",
        f"https://{CANARY}@login.example.com/token",
        f"https://a:{CANARY}@login.example.com/token",
        "https://login.example.com\\@evil.example/token",
        "https://login.example.com/token\r\nX: y",
        "https://login.example.com/token\n",
        "https://login.example.com:0/token",
        "https://login.example.com:/token",
        "https://192.0.2.7/token",
        "https://[2001:db8::7]/token",
        "https://0x7f.1/token",
        "//login.example.com/token",
        "login.example.com/token",
        "",
    ],
)
def test_a_token_endpoint_is_an_https_url_of_a_named_host(url: str) -> None:
    for kind in ("oauth2-refresh", "oauth2-client-credentials", "gcp-service-account"):
        sentence = refused(document(kind, token_url=url))
        assert sentence.startswith("token_url: ")
        assert "write" in sentence
    assert refused(document("github-app", api_url=url)).startswith("api_url: ")


def test_the_github_api_has_no_query_and_no_slash_at_its_end() -> None:
    assert "must have no query" in refused(document("github-app", api_url="https://api.github.com/?a=b"))
    app = parse_material(document("github-app", api_url="https://ghe.example.com/api/v3/"))
    assert isinstance(app, GithubApp)
    assert app.api_url == "https://ghe.example.com/api/v3"
    assert (app.app_id, app.installation_id) == ("12", "34")


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [
        (CANARY, "is no unencrypted PEM private key"),
        (EC_PEM, "must be an RSA key"),
        (pem_of(RSA, b"passphrase"), "is no unencrypted PEM private key"),
        (pem_of(SMALL_RSA), "has fewer than 2048 bits"),
        (certificate_of(EC), "is no unencrypted PEM private key"),
        (RSA_PEM.replace("-----BEGIN", CANARY), "is no unencrypted PEM private key"),
        (RSA_PEM[:-120] + "-----END PRIVATE KEY-----\n", "is no unencrypted PEM private key"),
    ],
)
def test_a_wrong_key_is_told_without_its_text(pem: str, sentence: str) -> None:
    for kind in ("gcp-service-account", "github-app"):
        assert refused(document(kind, private_key=pem)).startswith(f"private_key: {sentence}")


def test_keys_of_what_was_stored_are_not_checked_again() -> None:
    """Their seal says that they are those that were checked; all else is read as ever."""
    wrong = pem_of(SMALL_RSA)
    for kind in ("gcp-service-account", "github-app", "client-certificate"):
        assert refused(document(kind, private_key=wrong))
        assert parse_material(document(kind, private_key=wrong), stored=True).kind == kind
        with pytest.raises(ValueError, match="a field that"):
            parse_material(document(kind, more=""), stored=True)


def test_a_certificate_and_its_key_belong_together() -> None:
    other = pem_of(ec.generate_private_key(ec.SECP256R1()))
    sentence = refused(document("client-certificate", private_key=other))
    assert sentence == "certificate: the first one does not belong to private_key"
    for wrong in (CANARY, EC_PEM, CERTIFICATE + EC_PEM, ""):
        sentence = refused(document("client-certificate", certificate=wrong))
        assert sentence.startswith("certificate: must be PEM certificates and nothing else")
    assert refused(document("client-certificate", private_key=CANARY)).startswith("private_key: is no")


def test_a_chain_is_read_with_the_clients_own_first() -> None:
    chain = CERTIFICATE + certificate_of(RSA)
    assert parse_material(document("client-certificate", certificate=chain))
    assert refused(document("client-certificate", certificate=certificate_of(RSA) + CERTIFICATE))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (CANARY + "\n", "holds a line break or another control character"),
        (CANARY + "\r\nX-Evil: 1", "holds a line break or another control character"),
        (CANARY + "\0", "holds a line break or another control character"),
        (" " + CANARY, "begins or ends with a space"),
        ("short", "shorter than 8 characters"),
        ("", "shorter than 8 characters"),
        (7, "must be text"),
        (None, "must be text"),
    ],
)
def test_a_static_secret_is_one_line_that_can_be_scrubbed(value: object, sentence: str) -> None:
    assert refused(document("static", value=value)).startswith(f"value: {sentence}")


@pytest.mark.parametrize(
    ("username", "password", "sentence"),
    [
        ("a:b", CANARY, "a user name must hold no colon (RFC 7617 section 2)"),
        ("alice\n", CANARY, "user name and password must hold no control character"),
        ("alice", CANARY + "\x7f", "user name and password must hold no control character"),
        ("alice", "short", "shorter than 8 characters"),
        ("alice", "", "shorter than 8 characters"),
    ],
)
def test_a_user_name_and_password_fit_rfc_7617(username: str, password: str, sentence: str) -> None:
    assert refused(document("basic", username=username, password=password)).startswith(sentence)


def test_a_key_may_stand_in_the_place_of_the_user_name() -> None:
    material = parse_material(document("basic", username=CANARY, password=""))
    assert isinstance(material, BasicSecret)
    assert CANARY not in repr(material)


@pytest.mark.parametrize(
    ("text", "encoding", "octets"),
    [
        ("päss-word", "text", "päss-word".encode()),
        ("c2VjcmV0LWtleQ==", "base64", b"secret-key"),
        ("00ff00ff00ff00ff", "hex", bytes.fromhex("00ff00ff00ff00ff")),
    ],
)
def test_an_hmac_keys_octets(text: str, encoding: str, octets: bytes) -> None:
    material = parse_material(document("hmac", key=text, encoding=encoding))
    assert isinstance(material, HmacKey)
    assert material.octets() == octets


@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_an_hmac_key_that_does_not_decode_is_refused(encoding: str) -> None:
    assert refused(document("hmac", encoding=encoding)) == f"key: is not written in {encoding}"
    assert refused(document("hmac", key="c2VjcmU=", encoding="base64")) == "key: shorter than 8 octets"


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("aws", "access_key_id", "AKID EXAMPLE EXAMPLE"),
        ("aws", "access_key_id", "AKIDEXAMPLEEXAMPLE00\n"),
        ("aws", "secret_access_key", CANARY + " x"),
        ("aws", "session_token", CANARY + "é"),
        ("oauth2-refresh", "scope", 'a "b"'),
        ("oauth2-refresh", "scope", "a  b"),
        ("oauth2-refresh", "client_id", ""),
        ("oauth2-refresh", "client_authentication", "none"),
        ("oauth2-refresh", "refresh_token", CANARY + "\n"),
        ("github-app", "installation_id", "0"),
        ("github-app", "installation_id", "1/../2"),
        ("github-app", "app_id", True),
        ("github-app", "permissions", {"contents": "all"}),
        ("gcp-service-account", "scopes", "one"),
    ],
)
def test_a_field_of_the_wrong_form_is_named(kind: str, field: str, value: object) -> None:
    assert refused(document(kind, **{field: value})).startswith(f"{field}: ")


def test_a_google_key_file_gives_the_account() -> None:
    file = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": RSA_PEM,
        "client_email": "a@b.iam.gserviceaccount.com",
        "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
    }
    account = from_google_key(json.dumps(file).encode(), ("https://www.googleapis.com/auth/x",))
    assert isinstance(account, GcpServiceAccount)
    assert account.token_url == file["token_uri"]
    assert account.scopes == ("https://www.googleapis.com/auth/x",)
    without = {name: value for name, value in file.items() if name != "token_uri"}
    assert from_google_key(json.dumps(without).encode()).token_url == "https://oauth2.googleapis.com/token"
    with pytest.raises(ValueError, match="make a JSON key of a service account"):
        from_google_key(json.dumps(file | {"type": "authorized_user"}).encode())
    with pytest.raises(ValueError, match=r"^client_email: is missing$"):
        from_google_key(json.dumps({n: v for n, v in file.items() if n != "client_email"}).encode())


def test_a_model_made_in_code_does_not_quote_either() -> None:
    with pytest.raises(ValueError) as caught:
        StaticSecret(value=CANARY + "\n")  # type: ignore[arg-type]
    assert CANARY not in str(caught.value)


def test_the_readme_has_every_kind_with_its_fields() -> None:
    readme = (Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)`(?: \(default\))? \| (.*?) \| .* \|$", readme, re.MULTILINE))
    assert list(KINDS) == [kind for kind in rows if kind in KINDS]
    for kind, model in KINDS.items():
        if kind == "static":
            continue
        fields = {name: field for name, field in model.model_fields.items() if name != "kind"}
        told = dict(re.findall(r"`([a-z_]+)`(\?)?", re.sub(r" \(`.*?\)", "", rows[kind])))
        assert told == {name: "" if field.is_required() else "?" for name, field in fields.items()}, kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_whatever_one_field_holds_it_is_read_or_refused_in_one_line(kind: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(WHOLE[kind])))
    given_document = document(kind, **{field: data.draw(JSON)})
    material: Material | None = None
    with contextlib.suppress(ValueError):
        material = parse_material(given_document)
    if material is None:
        assert "\n" not in refused(given_document)
    else:
        assert parse_material(dump_material(material)) == material


def test_a_refresh_token_is_the_brokers_to_renew_and_says_nothing_new() -> None:
    kept = {
        "kind": "oauth2-refresh", "token_url": "https://login.example/token", "client_id": "egress",
        "refresh_token": "renewed-by-the-broker",
    }  # fmt: skip
    first, other = {**kept, "refresh_token": "the-operators-first"}, {**kept, "client_id": "another"}

    def material(document: dict[str, str]) -> Material:
        return parse_material(json.dumps(document).encode())

    assert given_anew(material(kept), material(first))
    assert not given_anew(material(kept), material(other))
    assert not given_anew(StaticSecret(value="a" * 20), StaticSecret(value="b" * 20))
    assert not given_anew(material(kept), StaticSecret(value="a" * 20))
