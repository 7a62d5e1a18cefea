"""The operator sees how many handles live where, and none of them."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.broker.api.control import HandleControl, WorkloadControl
from appliance.broker.handles import Bound, Handles
from appliance.broker.vault.kinds import StaticSecret
from appliance.control import ControlError
from tests.unit.broker.api.support import BEARER, Broker, in_thread, now
from tests.unit.broker.calls.support import SECRET, STORED


def test_000_29_handles_are_counted_and_never_told() -> None:
    clock = Clock()
    handles = Handles(clock)
    given = []
    for endpoint, account in (("e2", "crm"), ("e1", "crm"), ("e1", "crm"), ("e1", "bank")):
        secret = StaticSecret(kind="static", value=SECRET)
        pending = handles.ask(Bound("acme", endpoint, account, f"{account}-api", f"{account}-key"))
        given.append(handles.register(pending, secret, STORED, lambda: None))
        clock.advance(1)
    operation = HandleControl(handles).operations()["handle-list"]
    assert not operation.uids
    answer = operation.answer({}, None)
    assert answer["handles"] == [
        {"tenant": "acme", "endpoint": "e1", "account": "bank", "live": 1, "oldest_seconds": 1.0},
        {"tenant": "acme", "endpoint": "e1", "account": "crm", "live": 2, "oldest_seconds": 3.0},
        {"tenant": "acme", "endpoint": "e2", "account": "crm", "live": 1, "oldest_seconds": 4.0},
    ]
    assert not any(text in json.dumps(answer) for text in (*given, SECRET))


@pytest.fixture
def told(broker: Broker):
    control = WorkloadControl(
        broker.identities,
        broker.feed.table,
        broker.handles.revoke_all,
        broker.audit,
        in_thread=in_thread,
        now=now,
    )

    def tell(operation: str, **message: object):
        found: list = []
        answer = control.operations()[operation].answer(message, None)
        Deferred.fromCoroutine(answer).addBoth(found.append)
        return found[0]

    return tell


def test_000_33_a_workload_that_the_operator_disables_loses_access_at_once(broker: Broker, told) -> None:
    client, other = broker.workload(), broker.workload("e2", "c2")
    token = client.session()
    given = client.ask("POST /v1/handles", BEARER + token, body={"account": "crm"})
    assert given.status == 201
    assert told("workload-disable", tenant="acme", workload="c1") == {"workload": "c1"}
    assert client.ask("DELETE /v1/session", BEARER + token).reason == "workload_disabled"
    assert len(broker.handles) == 0
    assert other.session()
    assert told("workload-enable", tenant="acme", workload="c1")["was_disabled"] is True
    assert client.ask("DELETE /v1/session", BEARER + token).reason == "session_revoked"
    assert client.session()
    assert {"workload-disabled", "workload-enabled"} <= set(broker.events)


def test_000_33_nothing_is_changed_that_is_not_on_record(broker: Broker, told) -> None:
    client = broker.workload()
    broker.audit.ready = False
    failure = told("workload-disable", tenant="acme", workload="c1")
    assert failure.check(ControlError)
    assert failure.value.code == "audit-unavailable"
    broker.audit.ready = True
    assert client.session()


@pytest.mark.parametrize(
    "message", [{}, {"tenant": "acme"}, {"tenant": "acme", "workload": 1}, {"tenant": "A C", "workload": "c1"},
                {"tenant": "acme", "workload": "../x"}]
)  # fmt: skip
def test_a_workload_has_a_name(told, message: dict) -> None:
    assert told("workload-disable", **message).value.code == "invalid-request"
