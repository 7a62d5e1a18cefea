"""`egress policy reload`, seen from the process that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.control import ControlError
from appliance.policy.control import reload_operation
from appliance.policy.reloads import Reloads
from appliance.policy.store import PolicyStore
from appliance.settings import Settings


def test_a_good_policy_is_taken_and_a_bad_one_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tenants").mkdir()
    document = tmp_path / "tenants" / "acme.yaml"
    store = PolicyStore(Settings(config_dir=tmp_path))
    operation = reload_operation(Reloads(store, Clock()))
    assert operation.uids == frozenset()  # root only

    def ask() -> Any:
        asked = Deferred.fromCoroutine(cast("Any", operation.answer)({}, None))
        result: list[Any] = []
        asked.addBoth(result.append)
        return result[0]

    document.write_text("profile: read-only-web\n")
    assert ask() == {"policy": store.current.generation}
    assert "acme" in store.current.tenants
    good = store.current

    document.write_text("profile: everything\n")
    refused = ask()
    assert refused.check(ControlError)
    assert "acme.yaml:1:" in str(refused.value)
    assert store.current is good
