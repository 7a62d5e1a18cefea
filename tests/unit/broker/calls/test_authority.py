"""What a request may bring where the secret goes, and what collides (requirement 004-16)."""

from __future__ import annotations

import base64

import pytest

from appliance.broker.calls.authority import NOTHING, Collision, Kind, Presented, field_of, in_form, presented
from appliance.http1.target import query_pairs, query_pieces
from appliance.policy.slot import Slot

HANDLE = "hb_cred_" + "A" * 32
REFERENCE = "agentsecrets://openai-acme"
BEARER = Slot(style="bearer")
KEY = Slot(style="header", name="x-api-key")
BASIC = Slot(style="basic", template="x-access-token:{}")
QUERY = Slot(style="query", name="key")
SIGV4 = Slot(style="sigv4")


def seen(slot, *headers, withheld=(), pairs=()) -> Presented:
    return presented(slot, "agentsecrets", tuple(headers), withheld, tuple(pairs))


def basic(pair: str) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode())


def signed(key_id: str) -> bytes:
    return (
        f"AWS4-HMAC-SHA256 Credential={key_id}/20261121/eu-west-1/s3/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=00"
    ).encode()


def test_no_authority_is_fine() -> None:
    assert seen(BEARER, (b"Accept", b"*/*"), pairs=[("q", "a")]) is NOTHING


@pytest.mark.parametrize(
    ("slot", "headers", "pairs", "found"),
    [
        (BEARER, [(b"Authorization", f"Bearer {HANDLE}".encode())], [], Presented(Kind.HANDLE, HANDLE)),
        (BEARER, [(b"authorization", f"token {HANDLE}".encode())], [], Presented(Kind.HANDLE, HANDLE)),
        (
            BEARER,
            [(b"AUTHORIZATION", f"bearer  {REFERENCE}".encode())],
            [],
            Presented(Kind.REFERENCE, "openai-acme"),
        ),
        (KEY, [(b"X-Api-Key", HANDLE.encode())], [], Presented(Kind.HANDLE, HANDLE)),
        (KEY, [(b"x-api-key", b"abcDEF123")], [], Presented(Kind.TOKEN, "abcDEF123")),
        (BASIC, [(b"Authorization", basic(f"git:{HANDLE}"))], [], Presented(Kind.HANDLE, HANDLE)),
        (BASIC, [(b"Authorization", basic(f"{HANDLE}:x-oauth-basic"))], [], Presented(Kind.HANDLE, HANDLE)),
        (BASIC, [(b"Authorization", basic(f"{REFERENCE}:"))], [], Presented(Kind.REFERENCE, "openai-acme")),
        (
            BASIC,
            [(b"Authorization", basic(f"git:{REFERENCE}"))],
            [],
            Presented(Kind.REFERENCE, "openai-acme"),
        ),
        (QUERY, [], [("key", HANDLE)], Presented(Kind.HANDLE, HANDLE)),
        (SIGV4, [(b"Authorization", signed(HANDLE))], [], Presented(Kind.HANDLE, HANDLE)),
        (SIGV4, [(b"Authorization", signed(REFERENCE))], [], Presented(Kind.REFERENCE, "openai-acme")),
    ],
)
def test_one_of_ours_in_the_slot(slot, headers, pairs, found) -> None:
    assert seen(slot, *headers, pairs=pairs) == found


@pytest.mark.parametrize(
    ("slot", "headers"),
    [
        (BEARER, [(b"Authorization", b"Basic dXNlcjpwYXNz")]),
        (BEARER, [(b"Authorization", b"Bearer")]),
        (BEARER, [(b"Authorization", b"")]),
        (BEARER, [(b"Authorization", f"Bearer {HANDLE} {HANDLE}".encode())]),
        (BEARER, [(b"Authorization", f"Bearer {HANDLE}, Basic x".encode())]),
        (BEARER, [(b"Authorization", b"Bearer \xff")]),
        (BEARER, [(b"Authorization", f"Bearer {HANDLE}".encode())] * 2),
        (BEARER, [(b"authorization", f"Bearer {HANDLE}".encode()), (b"AuThOrIzAtIoN", b"Bearer x")]),
        (BEARER, [(b"X-Api-Key", HANDLE.encode())]),
        (BEARER, [(b"x_api_key", HANDLE.encode())]),
        (BEARER, [(b"Cookie", b"session=1")]),
        (BEARER, [(b"DPoP", b"x")]),
        (BEARER, [(b"Authorization", b"Bearer other://openai-acme")]),
        (KEY, [(b"Authorization", f"Bearer {HANDLE}".encode())]),
        (KEY, [(b"x_api_key", HANDLE.encode()), (b"x-api-key", HANDLE.encode())]),
        (BASIC, [(b"Authorization", b"Basic !!!")]),
        (BASIC, [(b"Authorization", basic(":"))]),
        (BASIC, [(b"Authorization", basic("no colon"))]),
        (SIGV4, [(b"Authorization", b"Bearer x")]),
        (SIGV4, [(b"Authorization", signed(HANDLE)), (b"X-Amz-Security-Token", b"t")]),
    ],
)
def test_004_16_authority_of_the_caller_collides(slot, headers) -> None:
    with pytest.raises(Collision):
        seen(slot, *headers)


@pytest.mark.parametrize("name", ["proxy-authorization", "authorization", "x_api_key"])
def test_004_16_a_field_that_the_gateway_keeps_back_collides_too(name: str) -> None:
    with pytest.raises(Collision) as caught:
        seen(BEARER, withheld=["te", name])
    assert caught.value.where == f"field {name}"


@pytest.mark.parametrize("key", ["key", "KEY", "Access_Token", " token", "X-Amz-Signature", "api_key", "sig"])
def test_004_16_authority_in_the_query_collides(key: str) -> None:
    with pytest.raises(Collision):
        seen(BEARER, pairs=[("q", "1"), (key, HANDLE)])


@pytest.mark.parametrize("pairs", [[("key", HANDLE), ("key", HANDLE)], [("KEY", HANDLE)], [("key", "")]])
def test_004_16_in_query_style_the_slot_is_one_key_once(pairs) -> None:
    with pytest.raises(Collision):
        seen(QUERY, pairs=pairs)


def test_authority_in_the_other_reading_of_a_query_collides() -> None:
    for query in ("a=1;private_token=x", "a=1;key=x"):
        with pytest.raises(Collision):
            presented(QUERY, "agentsecrets", (), (), query_pairs(query), pieces=query_pieces(query))
    query = f"a=1;b&key={HANDLE}"
    assert presented(QUERY, "agentsecrets", (), (), query_pairs(query), pieces=query_pieces(query)) != NOTHING


def test_a_definition_names_further_places() -> None:
    slot = Slot(style="bearer", authority_fields=("x-odd-key",), authority_query=("odd",))
    with pytest.raises(Collision):
        seen(slot, (b"X-Odd-Key", HANDLE.encode()))
    with pytest.raises(Collision):
        seen(slot, pairs=[("Odd", HANDLE)])


def test_where_no_reference_is_accepted_one_collides() -> None:
    with pytest.raises(Collision):
        presented(BEARER, None, ((b"authorization", f"Bearer {REFERENCE}".encode()),), (), ())


def test_a_collision_never_tells_the_value() -> None:
    with pytest.raises(Collision) as caught:
        seen(BEARER, (b"Cookie", b"very-secret"))
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("slot", "field"),
    [(BEARER, "authorization"), (KEY, "x-api-key"), (QUERY, None), (SIGV4, "authorization")],
)
def test_the_field_that_a_slot_fills(slot, field) -> None:
    assert field_of(slot) == field


def test_a_placeholder_may_stand_where_some_clients_put_their_key_and_nothing_else_may() -> None:
    slot = Slot(style="header", name="x-api-key", placeholder_fields=("authorization",))
    found = Presented(Kind.REFERENCE, "openai-acme")
    assert seen(slot, (b"Authorization", f"Bearer {REFERENCE}".encode())) == found
    assert seen(slot, (b"X-Api-Key", REFERENCE.encode())) == found
    assert seen(slot, (b"Authorization", b"Bearer abc")) == Presented(Kind.TOKEN, "abc")
    with pytest.raises(Collision, match="field authorization"):
        seen(slot, (b"Authorization", b"Basic YTpi"))
    with pytest.raises(Collision, match="several times"):
        seen(slot, (b"Authorization", f"Bearer {REFERENCE}".encode()), (b"X-Api-Key", REFERENCE.encode()))
    with pytest.raises(Collision, match="field authorization"):
        seen(KEY, (b"Authorization", f"Bearer {REFERENCE}".encode()))


@pytest.mark.parametrize(
    "key", ["access_token[]", "access_token[0]", "access.token", "access token", "ACCESS-TOKEN", " token "]
)
def test_004_16_a_key_that_a_framework_reads_as_one_of_these_collides(key: str) -> None:
    with pytest.raises(Collision):
        presented(Slot(style="bearer"), None, (), (), ((key, "x"),))


@pytest.mark.parametrize("body", [b"a=1&access_token=x", b"%61ccess_token=x", b"access_token[]=x", b"private+token=x",
                                  b"Token=x", b"a&token", b"a=1;token=x"])  # fmt: skip
def test_004_16_authority_in_a_form_collides(body: bytes) -> None:
    with pytest.raises(Collision) as caught:
        in_form(Slot(style="bearer", authority_query=("token",)), body)
    assert caught.value.where.startswith("form key ")


@pytest.mark.parametrize(
    "body", [b"", b"key=a&password=b", b"metadata[access_token]=x", b"text=access_token%3Dx"]
)
def test_what_is_data_in_a_form_does_not(body: bytes) -> None:
    in_form(Slot(style="bearer"), body)
