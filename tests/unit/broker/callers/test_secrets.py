"""A caller's call has its account's secret; a handle or a session of a container serves nothing in it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from appliance.broker.callers.secrets import CallerSecrets
from tests.unit.broker.calls.support import HANDLE, SESSION, Neighbours, account
from tests.unit.broker.calls.test_for_caller import attested

CRM = account().accounts["crm"]


def test_000_35_what_belongs_to_a_container_serves_no_caller() -> None:
    n = Neighbours()
    secrets = CallerSecrets(n)
    assert n.of_handle(attested(), CRM, HANDLE) is not None
    assert secrets.of_handle(attested(), CRM, HANDLE) is None
    found: list = []
    Deferred.fromCoroutine(secrets.is_session(attested(), CRM, SESSION)).addBoth(found.append)
    Deferred.fromCoroutine(secrets.of_account(attested(), CRM)).addBoth(found.append)
    assert found == [False, n.held[-1]]
