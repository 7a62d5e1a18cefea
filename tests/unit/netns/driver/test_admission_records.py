"""What is kept of a refused call, and what is not (issue 2)."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from ipaddress import IPv4Address
from typing import Any

import pytest
from driver_fakes import ENDPOINT, NET
from requests_to_docker import create

from appliance.audit.record import AdmissionRecord, Outcome
from netns.driver.admission import Refused
from netns.driver.admission_records import RUN, of_call, of_end, of_stop
from netns.driver.api_call import Kind
from netns.driver.messages import AuthorizationRequest
from netns.plumbing import Attachment

REFUSED = Refused(("user", "memory"), "egress: needs --user and --memory", "acme")


def message(target: str, body: dict[str, Any] | bytes = b"") -> AuthorizationRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return AuthorizationRequest.model_construct(
        RequestMethod="POST", RequestUri=target, RequestBody=raw, User=""
    )


def test_the_record_says_which_operations_there_are() -> None:
    written = re.findall(r"`([a-z ]+)`", str(AdmissionRecord.__doc__))
    assert written[0] == "operation"
    assert written[1:] == [*(kind.value for kind in Kind), RUN]


def test_a_create_call() -> None:
    body = create(User="0", Env=["TOKEN=secret"])
    record = of_call(message("/v1.41/containers/create?platform=&name=web", body), REFUSED)
    assert asdict(record) == {
        "operation": "create",
        "tenant": "acme",
        "container": "web",
        "image": "base",
        "user": "0",
        "outcome": Outcome.DENIED,
        "reason": "user",
        "rule": "admission: user, memory",
        "detail": "egress: needs --user and --memory",
    }


@pytest.mark.parametrize(
    ("target", "body", "operation", "container", "user"),
    [
        ("/containers/c1/start", b"", "start", "c1", None),
        ("/containers/c1/exec", {"User": "root"}, "exec create", "c1", "root"),
        ("/exec/e1/start", {}, "exec start", None, None),
        ("/containers/c1/update", {}, "update", "c1", None),
        ("/networks/create", {"Name": "n", "Driver": "./egress"}, "network create", None, None),
        ("/networks/acme/connect", {"Container": "c1"}, "network connect", "c1", None),
        ("/build?networkmode=acme", b"\x1f\x8b", "build", None, None),
    ],
)
def test_other_calls(
    target: str, body: dict[str, Any] | bytes, operation: str, container: str | None, user: str | None
) -> None:
    record = of_call(message(target, body), REFUSED)
    assert (record.operation, record.container, record.user, record.image) == (
        operation, container, user, None,
    )  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"User":1,"Image":{}}', b'{"User":"a","user":"b"}'])
def test_a_call_that_cannot_be_read_is_still_recorded(body: bytes) -> None:
    record = of_call(message("/containers/create", body), Refused(("unclear",), "egress: no"))
    assert (record.tenant, record.container, record.image, record.user) == (None, None, None, None)
    assert record.reason == "unclear"
    assert of_call(message("/containers//create"), REFUSED).operation == "other"


def test_a_stopped_container() -> None:
    link = Attachment(ENDPOINT, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
    record = of_stop(link, "c1", "process-status", "Uid is 0 0 0 0 (root)")
    assert (record.operation, record.tenant, record.container) == ("run", "acme", "c1")
    assert (record.outcome, record.reason) == (Outcome.DENIED, "process-status")
    assert record.detail == "stopped at 172.20.0.2: Uid is 0 0 0 0 (root)"
    assert of_stop(link, "", "not-sealed", "x").container is None


def test_a_container_that_was_stopped_without_a_link() -> None:
    record = of_end("c1", "acme", "one-network", "egress: no")
    assert (record.operation, record.tenant, record.container) == ("run", "acme", "c1")
    assert (record.reason, record.detail) == ("one-network", "stopped without a link: egress: no")
    assert of_end("c1", "", "x", "y").tenant is None
