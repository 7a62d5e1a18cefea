"""What another policy does to the request under way: it ends it, or bounds what is left of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.policy.caps import Caps
from appliance.policy.set import PolicySet
from appliance.policy.tenant import TenantPolicy
from tests.unit.policy.written import compiled

from .carried import Carried, bound
from .support import limited, web_policy
from .test_session import GET, Talk

UPLOAD = (
    b"POST /x HTTP/1.1\r\nHost: site.net\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
)
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(octet: bytes, count: int = 100) -> bytes:
    return b"%x\r\n%b\r\n" % (count, octet * count)


def uploads(most: str) -> TenantPolicy:
    return compiled(f"""
        rules:
          - {{name: put, hosts: [site.net], schemes: [http], methods: [POST], content_types: [text/plain],
             max_body: {most}}}
        """)


def load(talk: Talk, policy: TenantPolicy) -> None:
    """Another policy is in force."""
    talk.worker.test_policies[0] = PolicySet({"acme": policy}, "two")
    talk.worker.policy_changed()


def test_a_limit_that_is_lowered_cuts_the_answer_under_way_f4() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    server.protocol.dataReceived(STREAM + chunk(b"a", 900))
    load(talk, limited("tenant", bytes_in=1000))
    assert not talk.wire.aborted
    server.protocol.dataReceived(chunk(b"b", 900))
    assert (talk.wire.aborted, server.aborted) == (True, True)
    assert b"bbb" not in talk.wire.value()
    assert talk.records == [("denied", "bytes-in-exceeded")]
    assert talk.worker.audit.open_claims == 0


def test_a_limit_that_is_lowered_cuts_the_upload_under_way_f4() -> None:
    talk = Talk(policy=uploads("1MiB"))
    talk.says(UPLOAD + chunk(b"a"))
    server = talk.server()
    lower = uploads("1MiB")
    lower.limits = replace(lower.limits, container=replace(lower.limits.container, bytes_out=300))
    load(talk, lower)
    talk.says(chunk(b"b", 200))
    assert talk.statuses == [429]
    assert b"aaa" in server.value()
    assert b"bbb" not in server.value()
    assert talk.records == [("denied", "bytes-out-exceeded")]


@pytest.mark.parametrize("dialled", [False, True])
def test_a_cap_that_is_lowered_holds_for_the_body_under_way(*, dialled: bool) -> None:
    talk = Talk(policy=uploads("1MiB"))
    talk.says(UPLOAD)
    server = talk.server() if dialled else None
    load(talk, uploads("150B"))
    server = server or talk.server()
    talk.says(chunk(b"a"))
    assert talk.statuses == []
    talk.says(chunk(b"b"))
    assert talk.statuses == [413]
    assert b"over 150 bytes" in talk.wire.value()
    assert b"bbb" not in server.value()
    assert talk.records == [("denied", "body-too-large")]


@pytest.mark.parametrize("dialled", [False, True])
def test_a_cap_that_is_lowered_holds_for_the_answer_under_way(*, dialled: bool) -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server() if dialled else None
    load(talk, web_policy(caps=Caps(response_body_bytes=150)))
    server = server or talk.server()
    server.protocol.dataReceived(STREAM + chunk(b"a"))
    assert not talk.wire.aborted
    server.protocol.dataReceived(chunk(b"b"))
    assert (talk.wire.aborted, server.aborted) == (True, True)
    assert b"bbb" not in talk.wire.value()
    assert [reason for _, reason in talk.records] == ["response-too-large"]


def test_a_host_that_an_account_takes_over_gets_no_more_of_the_callers_own_authority_g5() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    load(talk, web_policy(bound=bound()))
    assert server.aborted
    assert talk.statuses == [403]
    assert talk.records == [("denied", "policy-changed")]


def test_a_host_that_an_account_loses_gets_no_more_of_its_secret_g5() -> None:
    talk = Carried()
    talk.says(GET)
    load(talk, web_policy(bound=bound()))
    assert not talk.server().aborted
    load(talk, web_policy())
    assert talk.server().aborted
    assert talk.records == [("denied", "policy-changed")]
