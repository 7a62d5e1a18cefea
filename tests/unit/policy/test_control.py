"""`egress policy reload`, seen from the process that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from appliance.control import ControlError
from appliance.policy.control import reload_operation
from appliance.policy.loader import PolicyStore
from appliance.settings import Settings


def test_a_good_policy_is_taken_and_a_bad_one_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tenants").mkdir()
    document = tmp_path / "tenants" / "acme.yaml"
    store = PolicyStore(Settings(config_dir=tmp_path))
    operation = reload_operation(store)
    assert operation.uids == frozenset()  # root only
    ask = cast("Any", operation.answer)

    document.write_text("profile: read-only-web\n")
    assert ask({}, None) == {"policy": store.current.generation}
    assert "acme" in store.current.tenants
    good = store.current

    document.write_text("profile: everything\n")
    with pytest.raises(ControlError, match=r"acme\.yaml:1:"):
        ask({}, None)
    assert store.current is good
