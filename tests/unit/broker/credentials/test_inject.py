"""appliance.broker.credentials.inject: each kind into each slot, or `credential-mismatch` before anybody is asked."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from appliance.broker.credentials.exchanged import ExchangedTokens
from appliance.broker.credentials.inject import CredentialError, applied, inject, needs_body, secrets_of
from appliance.broker.vault.kinds import KINDS, Material
from appliance.policy.slot import Hmac, Slot

from .support import (
    CANARY,
    NOW,
    RSA_PEM,
    Endpoint,
    answer,
    exchanged,
    granted,
    material,
    refresh,
    refusal,
    request,
    result,
)
from .test_client_certificate import SECRET as CERTIFICATE

SLOTS = {
    "bearer": Slot(style="bearer"),
    "header": Slot(style="header", name="x-api-key", template="token {}"),
    "basic": Slot(style="basic"),
    "token-as-basic": Slot(style="basic", template="x-access-token:{}"),
    "query": Slot(style="query", name="key"),
    "sigv4": Slot(style="sigv4", service="s3", region="eu-west-1"),
    "hmac": Slot(style="hmac", name="x-signature", hmac=Hmac(message=("method",))),
    "client-certificate": Slot(style="client-certificate"),
}
TOKEN_SLOTS = {"bearer", "header", "token-as-basic", "query"}
GITHUB = answer(201, token="access-one", expires_at="2026-06-01T13:00:00Z")

SECRETS: dict[str, tuple[Any, set[str], Any]] = {
    "static": (material("static", value="access-one"), TOKEN_SLOTS, None),
    "basic": (material("basic", username="alice", password=CANARY), {"basic"}, None),
    "oauth2-refresh": (refresh(), TOKEN_SLOTS, granted()),
    "oauth2-client-credentials": (
        material("oauth2-client-credentials", token_url="https://a.example/t", client_id="a", client_secret=CANARY),
        TOKEN_SLOTS,
        granted(),
    ),
    "aws": (material("aws", access_key_id="AKIDEXAMPLE", secret_access_key=CANARY, session_token="session-token"), {"sigv4"}, None),
    "gcp-service-account": (
        material("gcp-service-account", client_email="a@b", private_key_id="1", private_key=RSA_PEM, scopes=["s"]),
        TOKEN_SLOTS,
        granted(),
    ),
    "github-app": (material("github-app", app_id=1, installation_id=2, private_key=RSA_PEM), TOKEN_SLOTS, GITHUB),
    "hmac": (material("hmac", key=CANARY), {"hmac"}, None),
    "client-certificate": (CERTIFICATE, {"client-certificate"}, None),
}  # fmt: skip


def test_every_kind_is_tried() -> None:
    assert set(SECRETS) == set(KINDS)


@pytest.mark.parametrize("style", SLOTS)
@pytest.mark.parametrize("kind", SECRETS)
def test_004_15_a_kind_goes_where_it_fits_and_nowhere_else(kind: str, style: str) -> None:
    secret, fits, given = SECRETS[kind]
    endpoint, tokens = Endpoint(given), ExchangedTokens()
    work = inject(secret, SLOTS[style], request(), NOW, endpoint, exchanged(tokens))
    if style in fits:
        injection = result(work)
        assert injection.set_headers or injection.add_query or injection.client_certificate
        assert set(secrets_of(secret)) <= set(injection.live)
        assert all(injection.live)
    else:
        assert refusal(work).code == "credential-mismatch"
        assert endpoint.asked == []
        assert len(tokens) == 0


@pytest.mark.parametrize("kind", [kind for kind, (_, fits, _) in SECRETS.items() if fits == TOKEN_SLOTS])
def test_000_44_what_goes_out_has_the_token_in_its_slot(kind: str) -> None:
    secret, _, given = SECRETS[kind]
    outgoing = request(query="a=b")
    sent = {
        style: applied(outgoing, result(inject(secret, SLOTS[style], outgoing, NOW, Endpoint(given), exchanged())))
        for style in TOKEN_SLOTS
    }  # fmt: skip
    assert sent["bearer"].headers[-1] == (b"authorization", b"Bearer access-one")
    assert sent["header"].headers[-1] == (b"x-api-key", b"token access-one")
    pair = base64.b64encode(b"x-access-token:access-one")
    assert sent["token-as-basic"].headers[-1] == (b"authorization", b"Basic " + pair)
    assert sent["query"].query == "a=b&key=access-one"


@pytest.mark.parametrize("kind", [kind for kind, (_, fits, _) in SECRETS.items() if fits == TOKEN_SLOTS])
def test_what_was_exchanged_is_live_beside_what_it_was_exchanged_for(kind: str) -> None:
    secret, _, given = SECRETS[kind]
    injection = result(inject(secret, SLOTS["bearer"], request(), NOW, Endpoint(given), exchanged()))
    assert b"access-one" in injection.live
    assert len(set(injection.live)) == len(injection.live)


def test_004_10_the_caller_chooses_the_request_and_not_the_slot() -> None:
    ours = b"Bearer access-one"
    outgoing = request(
        method="DELETE",
        path="/v1/other",
        headers=(
            (b"host", b"api.example.com"),
            (b"Authorization", b"Bearer hb_cred_x"),
            (b"X-Api-Key", b"x"),
        ),
    )
    injection = result(
        inject(
            material("static", value="access-one"), SLOTS["bearer"], outgoing, NOW, Endpoint(), exchanged()
        )
    )
    sent = applied(outgoing, injection)
    assert (sent.method, sent.path) == ("DELETE", "/v1/other")
    assert [value for name, value in sent.headers if name.lower() == b"authorization"] == [ours]


def test_a_revoked_refresh_token_and_a_provider_that_is_down_stop_the_call() -> None:
    revoked = Endpoint(answer(400, error="invalid_grant", error_description=CANARY))
    down = Endpoint(answer(503, error=CANARY))
    for endpoint, code in ((revoked, "refresh-revoked"), (down, "token-endpoint-failed")):
        error = refusal(inject(refresh(), SLOTS["bearer"], request(), NOW, endpoint, exchanged()))
        assert error.code == code
        assert CANARY not in str(error)


@pytest.mark.parametrize("kind", SECRETS)
def test_no_error_or_repr_on_the_way_shows_a_secret(kind: str) -> None:
    secret: Material = SECRETS[kind][0]
    for slot in SLOTS.values():
        work = inject(
            secret, slot, request(body=None, host="x"), NOW, Endpoint(SECRETS[kind][2]), exchanged()
        )
        try:
            shown = repr(result(work))
        except CredentialError as error:
            shown = repr(error) + str(error)
        for text in (*secrets_of(secret), b"access-one"):
            assert text.decode() not in shown


@pytest.mark.parametrize(
    ("slot", "host", "needed"),
    [
        (SLOTS["bearer"], "s3.amazonaws.com", False),
        (SLOTS["sigv4"], "minio.example.com", False),
        (Slot(style="sigv4"), "bucket.s3.eu-west-1.amazonaws.com", False),
        (Slot(style="sigv4"), "sqs.eu-west-1.amazonaws.com", True),
        (Slot(style="sigv4"), "elsewhere.example.com", True),
        (SLOTS["hmac"], "a.example", False),
        (Slot(style="hmac", name="x-signature", hmac=Hmac(message=("path", "body"))), "a.example", True),
        (Slot(style="hmac", name="x-signature", hmac=Hmac(message=("body-hash",))), "a.example", True),
    ],
)
def test_a_body_is_waited_for_only_where_it_is_signed(slot: Slot, host: str, needed: bool) -> None:  # noqa: FBT001
    assert needs_body(slot, host) is needed


def test_a_secret_that_is_too_short_to_be_told_apart_is_not_reported() -> None:
    assert secrets_of(material("basic", username=CANARY, password="")) == (CANARY.encode(),)
    assert secrets_of(material("basic", username="alice", password=CANARY)) == (CANARY.encode(),)


def test_what_stood_in_a_placeholder_field_is_not_passed_on() -> None:
    slot = Slot(style="header", name="x-api-key", placeholder_fields=("authorization", "x-api-key"))
    outgoing = request(headers=((b"Authorization", b"Bearer agentsecrets://a"), (b"Accept", b"*/*")))
    work = inject(material("static", value=CANARY), slot, outgoing, NOW, Endpoint(), exchanged())
    sent = applied(outgoing, result(work)).headers
    assert sent == ((b"Accept", b"*/*"), (b"x-api-key", CANARY.encode()))
