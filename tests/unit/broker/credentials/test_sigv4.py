"""appliance.broker.credentials.sigv4: AWS's published figures, botocore's own signer, and AWS's side of it.

Long by the published figures, and by the verifier that computes a signature from the other side.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, unquote_to_bytes

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.credentials.outgoing import CredentialError, Injection, Outgoing, applied
from appliance.broker.credentials.sigv4 import placeholder_of, sigv4_injection
from appliance.policy.slot import Slot

from .support import NOW, material, request

HASH_OF_NOTHING = hashlib.sha256(b"").hexdigest()
SUITE = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
SUITE_SLOT = Slot(style="sigv4", service="service", region="us-east-1")
SUITE_NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
S3 = {
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
S3_SLOT = Slot(style="sigv4")
S3_NOW = datetime(2013, 5, 24, tzinfo=UTC)
S3_HOST = "examplebucket.s3.amazonaws.com"
HANDLE = "hb_cred_" + "Ab-_" * 8


def aws(**fields: str) -> Any:
    return material("aws", **fields)


def to(host: str, *more: tuple[bytes, bytes], **changed: Any) -> Outgoing:
    return request(host=host, headers=((b"Host", host.encode()), *more), **({"path": "/"} | changed))


def authorization(injection: Injection) -> str:
    return dict(injection.set_headers)[b"authorization"].decode()


@pytest.mark.parametrize(
    ("outgoing", "signed", "signature"),
    [
        ({}, "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            {"query": "Param2=value2&Param1=value1"},
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            {"query": "%E1%88%B4=bar"},
            "host;x-amz-date",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            {"method": "POST"},
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            {"method": "POST", "more": (b"My-Header1", b"value1")},
            "host;my-header1;x-amz-date",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            {
                "method": "POST",
                "more": (b"Content-Type", b"application/x-www-form-urlencoded"),
                "body": b"Param1=value1",
            },
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["vanilla", "query-order", "utf8-query", "post", "post-header", "post-form"],
)
def test_the_figures_of_the_published_test_suite(
    outgoing: dict[str, Any], signed: str, signature: str
) -> None:
    more = (outgoing.pop("more"),) if "more" in outgoing else ()
    injection = sigv4_injection(
        aws(**SUITE), SUITE_SLOT, to("example.amazonaws.com", *more, **outgoing), SUITE_NOW
    )
    assert authorization(injection) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        f" SignedHeaders={signed}, Signature={signature}"
    )


@pytest.mark.parametrize(
    ("outgoing", "signature"),
    [
        (
            to(S3_HOST, (b"Range", b"bytes=0-9"), path="/test.txt"),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            to(
                S3_HOST,
                (b"Date", b"Fri, 24 May 2013 00:00:00 GMT"),
                (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
                method="PUT",
                path="/test$file.text",
                body=b"Welcome to Amazon S3.",
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (to(S3_HOST, query="lifecycle"), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            to(S3_HOST, query="prefix=J&max-keys=2"),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_the_figures_of_the_s3_api_reference(outgoing: Outgoing, signature: str) -> None:
    assert authorization(sigv4_injection(aws(**S3), S3_SLOT, outgoing, S3_NOW)).endswith(f"={signature}")


def test_a_session_token_is_signed_and_live() -> None:
    session = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPf="
    injection = sigv4_injection(
        aws(**SUITE, session_token=session), SUITE_SLOT, to("example.amazonaws.com"), SUITE_NOW
    )
    assert (b"x-amz-security-token", session.encode()) in injection.set_headers
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in authorization(injection)
    assert session.encode() in injection.live


def as_aws_reads(wire: Outgoing, secret: str, *, s3: bool) -> bool:
    """Whether the signature fits what was received: AWS's side, from its description alone."""
    fields = [(name.lower().decode(), value.decode()) for name, value in wire.headers]
    sent = dict(fields)
    scope, signed, signature = re.fullmatch(  # type: ignore[union-attr]
        r"AWS4-HMAC-SHA256 Credential=[^/]+/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})",
        sent["authorization"],
    ).groups()
    needed = {name for name in sent if name.startswith("x-amz-")} | {"host"} | ({"content-type"} & set(sent))
    assert needed <= set(signed.split(";")), "AWS wants these signed"
    path = quote(unquote_to_bytes(wire.path), safe="/-._~") if s3 else quote(wire.path, safe="/~")
    pairs = sorted(
        (quote(unquote_to_bytes(key), safe="-._~"), quote(unquote_to_bytes(value), safe="-._~"))
        for key, _, value in (pair.partition("=") for pair in wire.query.split("&") if pair)
    )
    query = "&".join(f"{key}={value}" for key, value in pairs)
    lines = "".join(
        f"{name}:{','.join(re.sub(' +', ' ', v.replace(chr(9), ' ')).strip() for n, v in fields if n == name)}\n"
        for name in signed.split(";")
    )
    payload = sent.get("x-amz-content-sha256") or hashlib.sha256(wire.body or b"").hexdigest()
    if payload not in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER") and wire.body is not None:
        assert payload == hashlib.sha256(wire.body).hexdigest()
    canonical = f"{wire.method}\n{path}\n{query}\n{lines}\n{signed}\n{payload}"
    to_sign = (
        f"AWS4-HMAC-SHA256\n{sent['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.new(key, to_sign.encode(), "sha256").hexdigest(), signature)


ESCAPED = st.text(max_size=12).map(lambda text: quote(text, safe="!$&'()*,;:@~"))
QUERY = st.lists(
    st.tuples(st.text(max_size=6), st.none() | st.text(max_size=6)).map(
        lambda pair: (
            quote(pair[0], safe="!$'()*,;:@/?~")
            + ("" if pair[1] is None else "=" + quote(pair[1], safe="=!/~"))
        )
    ),
    max_size=4,
).map("&".join)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"X-Amz-Meta-A", b"x-amz-meta-b", b"Content-Type", b"Range", b"X-Other", b"User-Agent", b"Via"]
        ),
        st.text(alphabet='ab \t,=;"', max_size=10).map(str.encode),
    ),
    max_size=5,
).map(tuple)


@settings(deadline=None)
@given(
    s3=st.booleans(),
    path=st.lists(ESCAPED, max_size=3).map(
        lambda parts: "/" + "/".join(p for p in parts if p and "%2F" not in p)
    ),
    query=QUERY,
    headers=HEADERS,
    body=st.binary(max_size=20),
    session=st.none() | st.just("a-session-token=="),
    port=st.sampled_from([443, 9000]),
)
def test_aws_finds_the_signature_right_for_what_is_on_the_wire(
    *, s3: bool, path: str, query: str, headers: Any, body: bytes, session: str | None, port: int
) -> None:
    host = S3_HOST if s3 else "example.amazonaws.com"
    names = [name.lower() for name, _ in headers]
    if names.count(b"content-type") > 1:
        headers = tuple(h for h in headers if h[0] != b"Content-Type")
    outgoing = request(method="PUT", host=host, port=port, path=path, query=query, body=body,
                       headers=((b"host", host.encode()), *headers))  # fmt: skip
    secret = aws(**SUITE, session_token=session)
    wire = applied(outgoing, sigv4_injection(secret, S3_SLOT if s3 else SUITE_SLOT, outgoing, NOW))
    # Dot segments are no part of canonical paths, empty segments of what we make here.
    if re.search(r"/\.{1,2}(/|\Z)", path):
        return
    assert as_aws_reads(wire, SUITE["secret_access_key"], s3=s3)


@pytest.mark.parametrize("host", [b"example.amazonaws.com:443", b"EXAMPLE.amazonaws.com"])
def test_the_host_is_signed_as_the_field_has_it(host: bytes) -> None:
    outgoing = request(host="example.amazonaws.com", headers=((b"Host", host),))
    wire = applied(outgoing, sigv4_injection(aws(**SUITE), SUITE_SLOT, outgoing, NOW))
    assert (b"Host", host) in wire.headers
    assert as_aws_reads(wire, SUITE["secret_access_key"], s3=False)


def test_the_test_of_aws_side_can_fail() -> None:
    outgoing = to("example.amazonaws.com", (b"x-amz-meta-a", b"1"), query="a=b")
    wire = applied(outgoing, sigv4_injection(aws(**SUITE), SUITE_SLOT, outgoing, NOW))
    assert as_aws_reads(wire, SUITE["secret_access_key"], s3=False)
    assert not as_aws_reads(wire, "another-secret", s3=False)
    for changed in ({"query": "a=c"}, {"path": "/x"}, {"method": "PUT"}, {"body": b"x"}):
        outgoing = Outgoing(**{name: getattr(wire, name) for name in Outgoing.__slots__} | changed)
        assert not as_aws_reads(outgoing, SUITE["secret_access_key"], s3=False)


def by_botocore(kind: type[SigV4Auth], key: str, secret: str, **fields: Any) -> AWSRequest:
    """Signed as an SDK signs, at `NOW`."""
    signed = AWSRequest(**fields)
    with patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        kind(Credentials(key, secret), "s3", "us-east-1").add_auth(signed)
    return signed


@settings(deadline=None)
@given(
    key=st.lists(st.text(alphabet="ab c-_.~!()'*é$", min_size=1, max_size=5), min_size=1, max_size=3).filter(
        lambda parts: not {".", ".."} & set(parts)
    ),
    body=st.binary(max_size=9),
)
def test_what_s3_clients_send_is_signed_as_botocores_own_signer_does(key: list[str], body: bytes) -> None:
    path = "/" + "/".join(quote(part, safe="-._~") for part in key)
    query = "list-type=2&prefix=a%20b&continuation-token=x%2By%3D"
    theirs = by_botocore(
        S3SigV4Auth,
        S3["access_key_id"],
        S3["secret_access_key"],
        method="PUT",
        url=f"https://{S3_HOST}{path}?{query}",
        data=body,
        headers={"content-md5": "x", "amz-sdk-request": "attempt=1"},
    )
    outgoing = to(S3_HOST, (b"Content-MD5", b"x"), (b"Amz-Sdk-Request", b"attempt=1"), method="PUT",
                  path=path, query=query, body=body)  # fmt: skip
    ours = sigv4_injection(aws(**S3), S3_SLOT, outgoing, NOW)
    assert authorization(ours) == theirs.headers["Authorization"]
    assert dict(ours.set_headers)[b"x-amz-content-sha256"].decode() == theirs.headers["X-Amz-Content-SHA256"]


def test_004_10_an_sdks_signature_under_a_placeholder_is_read_and_replaced() -> None:
    signed = by_botocore(
        S3SigV4Auth, HANDLE, "anything", method="PUT", url=f"https://{S3_HOST}/k", data=b"x", headers={}
    )
    headers = tuple((name.encode(), value.encode()) for name, value in signed.headers.items())
    headers += ((b"X-Amz-Security-Token", b"a-token-of-the-callers"),)
    assert placeholder_of(signed.headers["Authorization"]) == HANDLE
    outgoing = to(S3_HOST, *headers, method="PUT", path="/k", body=b"x")
    wire = applied(outgoing, sigv4_injection(aws(**S3), S3_SLOT, outgoing, S3_NOW))
    names = [name.lower() for name, _ in wire.headers]
    assert len(names) == len(set(names))
    assert b"x-amz-security-token" not in names
    assert HANDLE.encode() not in b"".join(value for _, value in wire.headers)
    assert as_aws_reads(wire, S3["secret_access_key"], s3=True)


GOOD = f"AWS4-HMAC-SHA256 Credential={HANDLE}/20260601/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOOD, HANDLE),
        (GOOD.replace(", ", ","), HANDLE),
        (GOOD.replace(HANDLE, "agentsecrets://aws-acme"), "agentsecrets://aws-acme"),
        (GOOD.replace(HANDLE, "AKIAIOSFODNN7EXAMPLE"), "AKIAIOSFODNN7EXAMPLE"),
        (GOOD.replace(HANDLE, ""), None),
        (GOOD.replace(HANDLE, f"{HANDLE},Bearer x"), None),
        (GOOD.replace(HANDLE, f"{HANDLE} x"), None),
        (GOOD + ", Bearer x", None),
        (GOOD + "\n", None),
        (GOOD[:-1], None),
        (GOOD + "0", None),
        (" " + GOOD, None),
        (GOOD.replace("aws4_request", "aws5_request"), None),
        (GOOD.replace("20260601", "2026061"), None),
        (GOOD.replace("AWS4-HMAC-SHA256", "Bearer"), None),
        (GOOD.replace("host", "h" * 5000), None),
        (f"Bearer {HANDLE}", None),
        ("", None),
    ],
)
def test_only_a_whole_signature_has_a_placeholder(text: str, found: str | None) -> None:
    assert placeholder_of(text) == found


def test_a_placeholder_is_looked_for_in_linear_time() -> None:
    assert (
        placeholder_of(("AWS4-HMAC-SHA256 Credential=" + "/00000000/a/b/aws4_request" * 200)[:4096]) is None
    )


def refused(secret: Any, slot: Slot, outgoing: Outgoing) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        sigv4_injection(secret, slot, outgoing, NOW)
    assert S3["secret_access_key"] not in str(caught.value)
    return caught.value


def test_a_streamed_body_of_s3_is_unsigned_over_tls_and_refused_without() -> None:
    outgoing = to(S3_HOST, method="PUT", body=None)
    injection = sigv4_injection(aws(**S3), S3_SLOT, outgoing, NOW)
    assert dict(injection.set_headers)[b"x-amz-content-sha256"] == b"UNSIGNED-PAYLOAD"
    assert as_aws_reads(applied(outgoing, injection), S3["secret_access_key"], s3=True)
    assert (
        refused(aws(**S3), S3_SLOT, to(S3_HOST, body=None, scheme="http", port=80)).code == "body-not-known"
    )


@pytest.mark.parametrize(
    ("said", "body", "sent"),
    [
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", None, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"1\r\nx\r\n0\r\n\r\n", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("ab" * 32, None, "ab" * 32),
        ("ab" * 32, b"", HASH_OF_NOTHING),
        ("UNSIGNED-PAYLOAD", b"", HASH_OF_NOTHING),
        ("nonsense", None, "UNSIGNED-PAYLOAD"),
    ],
)
def test_what_s3_is_told_of_the_body(said: str, body: bytes | None, sent: str) -> None:
    outgoing = to(S3_HOST, (b"X-Amz-Content-SHA256", said.encode()), method="PUT", body=body)
    fields = dict(sigv4_injection(aws(**S3), S3_SLOT, outgoing, NOW).set_headers)
    assert fields[b"x-amz-content-sha256"].decode() == sent


@pytest.mark.parametrize(
    "said",
    [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    ],
)
def test_chunks_that_the_caller_signed_cannot_be_signed_again(said: str) -> None:
    error = refused(aws(**S3), S3_SLOT, to(S3_HOST, (b"x-amz-content-sha256", said.encode()), body=None))
    assert error.code == "credential-unusable"
    assert "switch payload signing off" in error.detail


def test_other_services_sign_the_body_which_must_be_known() -> None:
    assert refused(aws(**SUITE), SUITE_SLOT, to("example.amazonaws.com", body=None)).code == "body-not-known"
    outgoing = to("example.amazonaws.com", (b"X-Amz-Content-Sha256", b"UNSIGNED-PAYLOAD"), body=b"x")
    wire = applied(outgoing, sigv4_injection(aws(**SUITE), SUITE_SLOT, outgoing, NOW))
    assert (b"x-amz-content-sha256", hashlib.sha256(b"x").hexdigest().encode()) in wire.headers
    assert as_aws_reads(wire, SUITE["secret_access_key"], s3=False)


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Signature=x",
        "a=b&x-amz-credential=AKIA",
        "X-Amz-Algorithm=x",
        "X-Amz-Security-Token=x",
        "AWSAccessKeyId=x",
        "a=b+c",
    ],
)
def test_a_presigned_query_or_an_ambiguous_one_is_not_signed(query: str) -> None:
    assert refused(aws(**S3), S3_SLOT, to(S3_HOST, query=query)).code == "credential-unusable"


@pytest.mark.parametrize("path", ["/a%2Fb", "/a%2fb"])
def test_an_escaped_slash_in_an_s3_key_is_not_signed(path: str) -> None:
    assert refused(aws(**S3), S3_SLOT, to(S3_HOST, path=path)).code == "credential-unusable"


@pytest.mark.parametrize("name", [b"x-amz-meta-name", b"content-type"])
def test_a_field_that_must_be_signed_and_cannot_be_is_refused(name: bytes) -> None:
    assert refused(aws(**S3), S3_SLOT, to(S3_HOST, (name, b"caf\xe9"))).code == "credential-unusable"


def test_a_field_that_need_not_be_signed_travels_unsigned() -> None:
    outgoing = to(
        S3_HOST,
        (b"x-title", b"caf\xe9"),
        (b"Accept-Encoding", b"gzip"),
        (b"Content-Length", b"0"),
        (b"User-Agent", b"x"),
    )
    injection = sigv4_injection(aws(**S3), S3_SLOT, outgoing, NOW)
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in authorization(injection)
    assert len(applied(outgoing, injection).headers) == 8


def test_the_slot_says_what_the_host_does_not() -> None:
    assert refused(aws(**S3), S3_SLOT, to("minio.example.com")).code == "slot-unclear"
    slot = Slot(style="sigv4", service="s3")
    assert refused(aws(**S3), slot, to("minio.example.com")).code == "slot-unclear"
    slot = Slot(style="sigv4", service="s3", region="lab-1")
    injection = sigv4_injection(aws(**S3), slot, to("minio.example.com"), NOW)
    assert "/20260601/lab-1/s3/aws4_request," in authorization(injection)
    slot = Slot(style="sigv4", service="execute-api")
    injection = sigv4_injection(aws(**S3), slot, to("x.y.eu-west-1.amazonaws.com"), NOW)
    assert "/eu-west-1/execute-api/" in authorization(injection)


def test_the_secret_and_the_signature_are_live() -> None:
    injection = sigv4_injection(aws(**S3), S3_SLOT, to(S3_HOST), NOW)
    assert injection.live == (S3["secret_access_key"].encode(), authorization(injection)[-64:].encode())


def test_keys_do_not_fit_another_slot() -> None:
    assert refused(aws(**S3), Slot(style="bearer"), to(S3_HOST)).code == "credential-mismatch"
