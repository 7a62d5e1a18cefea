"""The operator sees how many handles live where, and none of them."""

from __future__ import annotations

import json

from twisted.internet.task import Clock

from appliance.broker.api.control import HandleControl
from appliance.broker.handles import Bound, Handles
from appliance.broker.vault.kinds import StaticSecret
from tests.unit.broker.calls.support import SECRET


def test_000_29_handles_are_counted_and_never_told() -> None:
    clock = Clock()
    handles = Handles(clock)
    given = []
    for endpoint, account in (("e2", "crm"), ("e1", "crm"), ("e1", "crm"), ("e1", "bank")):
        secret = StaticSecret(kind="static", value=SECRET)
        given.append(handles.register(Bound("acme", endpoint, account), secret, lambda: None))
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
