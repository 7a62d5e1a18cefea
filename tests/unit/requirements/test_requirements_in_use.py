"""A row counts as proved when processes load all that its tests are about."""

from __future__ import annotations

import pytest

from tests.requirements.in_use import in_use, loaded, module_of, modules, unused


@pytest.mark.parametrize(
    ("test", "module"),
    [
        ("tests/unit/broker/vault/test_vault.py::test_x", "appliance.broker.vault.vault"),
        ("tests/unit/broker/vault/test_vault_memory.py::test_x[a/b]", "appliance.broker.vault.vault"),
        ("tests/unit/netns/test_plan.py::test_x", "netns.plan"),
        ("tests/unit/test_names.py::test_x", "appliance.names"),
        ("tests/unit/netns/test_netns_wiring.py::test_x", "netns.wiring"),
        ("tests/unit/test_structure.py::test_x", None),
        ("tests/system/test_names.py::test_x", None),
    ],
)
def test_a_test_is_about_the_module_that_it_mirrors(test: str, module: str | None) -> None:
    assert module_of(test) == module


def test_what_is_loaded_for_its_types_alone_is_not_used() -> None:
    source = "import a\nfrom b import c\nif TYPE_CHECKING:\n    import d\nelse:\n    import e\ndef f():\n    import g"
    assert loaded(source) == {"a", "b", "b.c", "e", "g"}


def test_what_processes_load_is_in_use() -> None:
    assert {"appliance.broker.vault.envelope", "appliance.gateway.session", "netns.ruleset"} <= in_use()
    assert in_use() < set(modules())


def test_what_no_process_loads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.requirements.in_use.in_use", lambda: frozenset({"appliance.names"}))
    names, vault = "tests/unit/test_names.py::test_x", "tests/unit/broker/vault/test_vault.py::test_x"
    assert unused([vault, names, "tests/system/test_names.py::test_x"]) == {"appliance.broker.vault.vault"}
    assert unused([names]) == unused([]) == frozenset()
