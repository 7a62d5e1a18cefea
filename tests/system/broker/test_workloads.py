"""A container with a certificate of its own, end to end: entry point, enrolment, mTLS, provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bound import BoundWorld, records

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
JOB = Path(__file__).with_name("jobs") / "workload.py"
CERTIFIED = {"EGRESS_WORKLOAD_CERTIFICATE": "1"}


@pytest.fixture(scope="module")
def found(bound: BoundWorld) -> dict[str, Any]:
    output = bound.job(JOB, **CERTIFIED)
    assert output.status == 0, output.text
    found: dict[str, Any] = json.loads(output.text.splitlines()[-1])
    return found


def test_000_33_a_container_enrols_by_its_link_and_is_served(found: dict[str, Any]) -> None:
    assert found["session"]["status"] == 201, found
    issued = [record for record in records("broker") if record.get("event") == "certificate-issued"]
    assert issued
    asked = [one for one in records("gateway") if one.get("path") == "/.well-known/egress/certificate"]
    assert {(one["outcome"], one["reason"], one["status"]) for one in asked} == {
        ("allowed", "allowed-by-appliance", 200)
    }


def test_000_06_000_08_without_a_certificate_there_is_nothing(found: dict[str, Any]) -> None:
    assert set(found["without"]) == {"error"}


def test_000_39_execute_reaches_the_provider(found: dict[str, Any]) -> None:
    assert (found["execute"]["status"], found["again"]["status"]) == (200, 200), found
    assert found["execute"]["said"]["choices"]
    assert (found["proxied"]["status"], found["proxied"]["said"]["reason"]) == (400, "url-invalid")


def test_004_11_a_handle_serves_until_the_work_is_done(found: dict[str, Any]) -> None:
    assert found["handle"]["status"] == 200, found
    assert found["done"] == {"status": 200, "said": {"revoked": 1}}
    assert found["dead"]["said"]["reason"] == "handle-dead"


def test_000_36_a_session_for_a_slot_serves_there(found: dict[str, Any]) -> None:
    assert found["slot"]["status"] == 200, found


def test_000_34_a_closed_session_is_over(found: dict[str, Any]) -> None:
    assert found["closed"]["status"] == 204
    assert (found["over"]["status"], found["over"]["said"]["reason"]) == (401, "session_revoked")


def test_000_29_000_35_nothing_that_the_container_saw_holds_the_secret(
    bound: BoundWorld, found: dict[str, Any]
) -> None:
    assert bound.secret("chat") not in json.dumps(found)


def test_without_the_wish_no_certificate_is_asked_for(bound: BoundWorld) -> None:
    output = bound.script("import os; print([name for name in os.environ if 'CLIENT' in name])")
    assert output.text.strip() == "[]"
