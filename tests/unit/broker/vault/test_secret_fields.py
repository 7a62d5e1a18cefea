"""appliance.broker.vault.secret_fields: a part is what it should be, or a sentence says what it should be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from appliance.broker.vault.secret_fields import (
    Identifier,
    Number,
    OriginUrl,
    Scope,
    Secret,
    TokenSecret,
    Url,
    long_enough,
    private_key,
)


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Url, "https://login.example.com"),
        (Url, "https://login.example.com:8443/a/b%20c?d=e"),
        (Scope, "read write:all"),
        (Identifier, "a@b.example"),
        (Number, "34"),
    ],
)
def test_what_fits_stays_as_it_is(kind: Any, value: str) -> None:
    assert read(kind, value) == value


def test_a_number_may_be_one_in_json_and_an_origin_loses_its_slash() -> None:
    assert read(Number, 34) == "34"
    assert read(OriginUrl, "https://ghe.example.com/api/") == "https://ghe.example.com/api"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Secret, "two\nlines-of-it"),
        (TokenSecret, "with space-in-it"),
        (Url, "http://login.example.com/"),
        (Scope, "a  b"),
        (Identifier, "é"),
        (Number, True),
        (Number, "007"),
    ],
)
def test_what_does_not_is_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        read(kind, value)


def test_a_short_secret_and_a_broken_key_are_told_without_their_text() -> None:
    for check, text in ((long_enough, "canary"), (private_key, "canary-Zq81uXw0")):
        with pytest.raises(ValueError) as caught:
            check(SecretStr(text))  # type: ignore[operator]
        assert text not in str(caught.value)
        assert caught.value.__context__ is None
