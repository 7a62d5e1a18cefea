"""A refusal's page and alert."""

from __future__ import annotations

import json

from appliance.audit.record import Outcome
from appliance.refusal import NO_RULE, Refusal

GIVEN = Refusal(429, "too-many-things", "There are too many.", "Wait.", "acme.yaml:3", retry_after=7)


def test_a_page_names_reason_rule_and_mend() -> None:
    head, body = GIVEN.page("id-1", close=False).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 7" in head
    assert b"\r\nX-Egress-Request-Id: id-1" in head
    assert b"Connection: close" not in head
    found = json.loads(body)
    assert (found["reason"], found["rule"], found["mend"]) == ("too-many-things", "acme.yaml:3", "Wait.")


def test_the_answer_to_head_has_no_body() -> None:
    assert GIVEN.page("id-1", head_only=True).endswith(b"\r\n\r\n")


def test_a_closing_one_is_the_same_otherwise() -> None:
    assert GIVEN.closing() == Refusal(
        429, "too-many-things", "There are too many.", "Wait.", "acme.yaml:3", retry_after=7, closes=True
    )


def test_by_default_nothing_of_the_documents_decided_and_it_is_a_denial() -> None:
    plain = Refusal(403, "no", "No.", "")
    assert (plain.rule, plain.outcome) == (NO_RULE, Outcome.DENIED)


def test_in_tls_it_is_a_fatal_alert() -> None:
    assert GIVEN.alert_record() == b"\x15\x03\x03\x00\x02\x02\x31"
