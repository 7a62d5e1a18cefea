"""Slots: the styles there are, and what must stand together."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from appliance.broker.vault import kinds
from appliance.policy.slot import STYLES, SecretKind, Slot


def slot(**written: Any) -> Slot:
    return Slot.model_validate(written)


HMAC = {"message": ["timestamp", "body"], "timestamp_field": "x-timestamp"}


@pytest.mark.parametrize(
    "written",
    [
        {"style": "bearer"},
        {"style": "header", "name": "x-api-key"},
        {"style": "header", "name": "authorization", "template": "token {}"},
        {"style": "basic"},
        {"style": "basic", "template": "x-access-token:{}"},
        {"style": "query", "name": "key"},
        {"style": "sigv4", "service": "s3", "region": "eu-west-1"},
        {"style": "hmac", "name": "x-signature", "template": "sha256={}", "hmac": HMAC},
        {"style": "client-certificate"},
        {"style": "bearer", "authority_fields": ["x-api-key"], "authority_query": ["key"]},
    ],
)
def test_004_15_the_styles_that_there_are(written: dict[str, Any]) -> None:
    made = slot(**written)
    assert made.style in STYLES
    assert made.kinds
    with pytest.raises(ValidationError):
        made.name = "other"  # frozen: nobody changes it afterwards


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({"style": "cookie"}, "Input should be"),
        ({"style": "Bearer"}, "Input should be"),
        ({}, "style"),
        ({"style": "bearer", "name": "x"}, "style bearer has no name"),
        ({"style": "header"}, "style header needs name"),
        ({"style": "header", "name": "X-Api-Key"}, "lower case"),
        ({"style": "header", "name": "a b"}, "lower case"),
        ({"style": "header", "name": "host"}, "never goes into host"),
        ({"style": "header", "name": "content-length"}, "never goes into"),
        ({"style": "header", "name": "a", "template": "token"}, "is no template"),
        ({"style": "header", "name": "a", "template": "{} {}"}, "is no template"),
        ({"style": "header", "name": "a", "template": "{x} {}"}, "is no template"),
        ({"style": "header", "name": "a", "template": "a\r\nb: {}"}, "is no template"),
        ({"style": "bearer", "template": "a{}"}, "style bearer has no template"),
        ({"style": "basic", "template": "{}"}, "user:password"),
        ({"style": "query", "name": "a&b"}, "no plain query key"),
        ({"style": "bearer", "service": "s3"}, "no service or region"),
        ({"style": "hmac", "name": "x-signature"}, "style hmac needs hmac"),
        ({"style": "bearer", "hmac": HMAC}, "style bearer has no hmac"),
        ({"style": "hmac", "name": "s", "hmac": {"message": ["timestamp"]}}, "write timestamp_field"),
        ({"style": "bearer", "authority_fields": ["X-Key"]}, "lower case"),
        ({"style": "bearer", "placeholder_fields": ["X-Key"]}, "lower case"),
        ({"style": "bearer", "placeholder_fields": ["host"]}, "never stands in"),
        ({"style": "bearer", "colour": "red"}, "Extra inputs"),
    ],
)
def test_004_15_an_unknown_style_or_a_slot_that_contradicts_itself(
    written: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValidationError, match=word):
        slot(**written)


def test_kinds_are_those_of_the_vault() -> None:
    assert set(get_args(SecretKind)) == set(kinds.KINDS)
