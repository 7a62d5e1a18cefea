"""Verdicts and facts as values."""

from __future__ import annotations

import re

import pytest

from appliance.names import HostName
from appliance.policy.verdict import Outcome, Reason, RequestFacts, Verdict


def test_only_allow_is_allowed() -> None:
    assert Verdict(Outcome.ALLOW, Reason.ALLOWED_BY_RULE, "r", "d").allowed
    assert not Verdict(Outcome.DENY, Reason.NO_POLICY, "r", "d").allowed


def test_reasons_are_stable_codes() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", reason) for reason in Reason)


@pytest.mark.parametrize(
    ("length", "chunked", "body"),
    [(None, False, False), (0, False, False), (1, False, True), (None, True, True)],
)
def test_what_is_a_body(length: int | None, *, chunked: bool, body: bool) -> None:
    facts = RequestFacts(
        "POST", "https", HostName("a.example.com"), 443, content_length=length, chunked=chunked
    )
    assert facts.has_body is body
