"""appliance.broker.credentials.hmac_signing: the signatures that providers document."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from appliance.broker.credentials.hmac_signing import hmac_injection
from appliance.broker.credentials.outgoing import CredentialError, Outgoing
from appliance.policy.slot import Hmac, Slot

from .support import NOW, material, request

SECONDS = "1780315200"
KEY = "It's a Secret to Everybody"


def slot(template: str | None = None, **form: Any) -> Slot:
    return Slot(style="hmac", name="x-signature", template=template, hmac=Hmac(**form))


def key(**changed: str) -> Any:
    return material("hmac", **({"key": KEY} | changed))


def fields(secret: Any, where: Slot, outgoing: Outgoing) -> dict[bytes, bytes]:
    return dict(hmac_injection(secret, where, outgoing, NOW).set_headers)


def test_the_figure_that_github_publishes_for_signed_bodies() -> None:
    # GitHub's documentation of "Validating webhook deliveries": key, payload and signature of its test.
    where = slot("sha256={}", message=("body",))
    assert fields(key(), where, request(method="POST", body=b"Hello, World!")) == {
        b"x-signature": b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }


def test_every_part_stands_where_the_definition_says() -> None:
    where = slot(
        message=("timestamp", "key-id", "method", "host", "path", "query", "target", "body", "body-hash"),
        separator="|",
        timestamp_field="x-timestamp",
        key_id_field="x-key",
        algorithm="sha512",
        encoding="base64",
    )
    outgoing = request(method="POST", port=8443, headers=(), query="a=b", body=b"{}")
    digest = hashlib.sha512(b"{}").hexdigest()
    message = f"{SECONDS}|k1|POST|api.example.com:8443|/v1/things|a=b|/v1/things?a=b|{{}}|{digest}"
    signature = base64.b64encode(hmac.digest(KEY.encode(), message.encode(), "sha512"))
    assert fields(key(key_id="k1"), where, outgoing) == {
        b"x-signature": signature,
        b"x-timestamp": SECONDS.encode(),
        b"x-key": b"k1",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "PUT"},
        {"path": "/v1/other"},
        {"query": "a=c"},
        {"body": b"x"},
        {"host": "b.example", "headers": ()},
    ],
)
def test_another_request_has_another_signature(changed: dict[str, Any]) -> None:
    where = slot(message=("method", "host", "target", "body-hash"))
    assert fields(key(), where, request()) != fields(key(), where, request(**changed))


@pytest.mark.parametrize("part", ["body", "body-hash"])
def test_a_streamed_body_cannot_be_signed(part: Any) -> None:
    with pytest.raises(CredentialError) as caught:
        fields(key(), slot(message=("method", part)), request(body=None))
    assert caught.value.code == "body-not-known"
    assert fields(key(), slot(message=("method",)), request(body=None))


@pytest.mark.parametrize(
    "form", [{"message": ("key-id",)}, {"message": ("method",), "key_id_field": "x-key"}]
)
def test_a_key_without_a_name_does_not_fit_where_the_name_is_sent(form: dict[str, Any]) -> None:
    with pytest.raises(CredentialError) as caught:
        fields(key(), slot(**form), request())
    assert caught.value.code == "credential-mismatch"


def test_a_key_can_be_written_in_base64() -> None:
    secret = key(key=base64.b64encode(KEY.encode()).decode(), encoding="base64")
    assert fields(secret, slot(message=("body",)), request()) == fields(
        key(), slot(message=("body",)), request()
    )


def test_key_and_signature_are_live() -> None:
    injection = hmac_injection(key(), slot(message=("body",)), request(), NOW)
    assert injection.live == (KEY.encode(), dict(injection.set_headers)[b"x-signature"])


def test_a_key_does_not_fit_another_slot() -> None:
    with pytest.raises(CredentialError) as caught:
        hmac_injection(key(), Slot(style="bearer"), request(), NOW)
    assert caught.value.code == "credential-mismatch"
