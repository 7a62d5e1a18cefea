"""accounts.yaml as it is written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from appliance.policy.accounts import AccountsDocument

ONE = {"name": "crm-acme", "integration": "crm", "tenants": ["acme"]}


def read(**more: Any) -> AccountsDocument:
    return AccountsDocument.model_validate({"accounts": [{**ONE, **more}]})


def test_an_account() -> None:
    (account,) = read(parameters={"region": "eu-west-1", "bucket": ["a", "b"]}).accounts or ()
    assert account.parameters == {"region": ("eu-west-1",), "bucket": ("a", "b")}
    assert (account.secret, account.host, account.groups) == (None, None, None)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"name": "CRM"}, "no account name"),
        ({"name": ""}, "no account name"),
        ({"tenants": []}, "too_short"),
        ({"tenants": ["acme", "acme"]}, "listed twice"),
        ({"tenants": ["*"]}, "no tenant name"),
        ({"groups": []}, "too_short"),
        ({"host": "*.example.com"}, "must be one name"),
        ({"host": "10.0.0.0/8"}, "range of addresses"),
        ({"secret": "../x"}, "no account name"),
        ({"parameters": {"bucket": ".."}}, "no parameter value"),
        ({"parameters": {"bucket": "a/b"}}, "no parameter value"),
        ({"parameters": {"bucket": "*"}}, "no parameter value"),
        ({"parameters": {"bucket": []}}, "too_short"),
        ({"style": "header"}, "extra_forbidden"),
        ({"slot": {"style": "query", "name": "key"}}, "extra_forbidden"),
    ],
)
def test_004_15_what_an_account_cannot_say(more: dict[str, Any], word: str) -> None:
    """Where the secret goes is the definition's matter alone."""
    with pytest.raises(ValidationError) as refused:
        read(**more)
    assert word in str(refused.value)
