"""A provider's WebSocket from a hardened container: opened with the account's secret, which comes back in no frame."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import internet, providers
from tests.lab.bound import UNBOUND, BoundWorld, records

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
JOB = Path(__file__).with_name("jobs") / "realtime.py"
REFERENCE = "agentsecrets://chat"
SCRUBBED = "[scrubbed:secret]"


def test_000_44_004_39_a_realtime_session_sees_no_secret(bound: BoundWorld) -> None:
    output = bound.job(JOB, KEY=REFERENCE)
    assert output.status == 0, output.text
    found = json.loads(output.text)
    assert found["status"] == "101", output.text
    assert found["frames"] == [f"hello; you are Bearer {SCRUBBED}"]
    assert found["fields"]["x-you-are"] == f"Bearer {SCRUBBED}"
    assert "sec-websocket-extensions" not in found["fields"]
    assert (found["ping"], found["close"]) == ("between", 1000)
    assert bound.secret("chat") not in output.text
    (asked,) = [line for line in providers.seen(internet.OPENAI) if line["status"] == 101]
    assert asked["authority"] == f"Bearer {bound.secret('chat')}"
    assert "sec-websocket-extensions" not in asked["fields"]
    identity = found["fields"]["x-egress-request-id"]
    for process, kind in (("gateway", "request"), ("broker", "call")):
        of_it = [record for record in records(process) if record.get("request_id") == identity]
        assert [(record["kind"], record["status"]) for record in of_it] == [(kind, 101)] * 2
        assert [record["detail"] for record in of_it] == [
            "A WebSocket was opened.",
            "The WebSocket ended with code 1000.",
        ]


def test_004_32_without_the_account_there_is_no_session(bound: BoundWorld) -> None:
    before = len(providers.seen(internet.OPENAI))
    output = bound.job(JOB, tenant=UNBOUND, KEY=REFERENCE)
    assert output.status != 0
    assert "name resolution" in output.text, "a tenant without the account does not learn the address"
    assert len(providers.seen(internet.OPENAI)) == before
