"""accounts.yaml and integrations/ on disk: one generation, the last good ones kept, closed when none was good."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.policy.loader import (
    PolicyError,
    check_accounts_text,
    load_catalog,
    load_operator_exceptions,
    load_policy_set,
)
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.settings import Settings
from tests.unit.policy.bindings import CRM
from tests.unit.policy.placed import write
from tests.unit.policy.written import request

ONE = "accounts: [{name: a, integration: crm, tenants: [acme]}]\n"


@pytest.fixture
def placed(settings: Settings) -> Settings:
    settings.integrations_dir.mkdir()
    write(settings, "tenants/acme.yaml", "profile: allowlist\n")
    write(settings, "tenants/other.yaml", "profile: allowlist\n")
    write(settings, "integrations/crm.yaml", CRM)
    write(settings, "accounts.yaml", ONE)
    return settings


def account(policies: PolicySet, tenant: str = "acme", path: str = "/data/1") -> str | None:
    return policies.for_tenant(tenant).judge(request(f"https://api.crm.example{path}")).account


def test_an_account_is_its_tenants_alone(placed: Settings) -> None:
    policies = load_policy_set(placed)
    assert (account(policies), account(policies, "other"), account(policies, "none")) == ("a", None, None)


def test_the_generation_is_of_accounts_and_definitions_too(placed: Settings) -> None:
    first = load_policy_set(placed)
    write(placed, "integrations/crm.yaml", CRM.replace("/data/*", "/data/**"))
    second = load_policy_set(placed)
    write(placed, "accounts.yaml", ONE.replace("name: a", "name: b"))
    third = load_policy_set(placed)
    assert len({first.generation, second.generation, third.generation}) == 3
    generations = {p.tenants["other"].generation for p in (first, second, third)}
    assert len(generations) == 1  # whose accounts they are not hears nothing of it


def test_a_reload_keeps_who_is_not_concerned(placed: Settings) -> None:
    store = PolicyStore(placed)
    before = store.reload()
    write(placed, "accounts.yaml", ONE.replace("[acme]", "[acme], groups: [read]"))
    after = store.reload()
    assert after.tenants["other"] is before.tenants["other"]
    assert after.tenants["acme"] is not before.tenants["acme"]
    assert store.reload() is after


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("accounts.yaml", "accounts: [{name: a, integration: cmr, tenants: [acme]}]", "no integration 'cmr'"),
        ("accounts.yaml", "accounts: [", "accounts.yaml"),
        ("accounts.yaml", "", "the document is empty"),
        ("accounts.yaml", None, "is gone; its last good accounts stay"),
        ("integrations/crm.yaml", "name: crm\n", "title is missing"),
        ("integrations/crm.yaml", None, "there is no integration 'crm'"),
        ("integrations/github.yaml", CRM, "a definition 'github' comes with the appliance"),
        ("operator.yaml", "passthrough: [{hosts: [api.crm.example]}]", "through unread for tenant acme"),
    ],
)
def test_the_last_good_accounts_stay(placed: Settings, name: str, text: str | None, word: str) -> None:
    store = PolicyStore(placed)
    store.reload()
    if text is None:
        (placed.config_dir / name).unlink()
    else:
        write(placed, name, text)
    for _ in range(2):
        assert account(store.reload()) == "a"
        assert store.last_error is not None
        assert word in str(store.last_error)
    # A passthrough that came later does not make the account's host unread.
    assert not store.current.tenants["acme"].passthrough(request("https://api.crm.example/data/1").host, 443)


def test_accounts_that_were_never_good_close_everything(placed: Settings) -> None:
    write(placed, "accounts.yaml", "acounts: []\n")
    store = PolicyStore(placed)
    assert dict(store.reload().tenants) == {}
    with pytest.raises(PolicyError, match="unknown key 'acounts'"):
        load_policy_set(placed)
    write(placed, "accounts.yaml", ONE)
    assert account(store.reload()) == "a"
    assert store.last_error is None


def test_an_account_ends_when_the_document_says_so(placed: Settings) -> None:
    store = PolicyStore(placed)
    store.reload()
    write(placed, "accounts.yaml", "{}\n")
    assert account(store.reload()) is None
    assert store.last_error is None
    (placed.config_dir / "accounts.yaml").unlink()
    store.reload()
    assert store.last_error is None


def test_an_account_for_a_tenant_that_is_not_there_is_a_warning(placed: Settings) -> None:
    write(placed, "accounts.yaml", ONE.replace("[acme]", "[acme, later]"))
    store = PolicyStore(placed)
    assert account(store.reload()) == "a"
    assert ["'later'" in str(warning) for warning in store.warnings] == [True]


def test_a_text_is_checked_before_it_is_in_its_place(placed: Settings) -> None:
    assert check_accounts_text(placed, ONE.encode(), "accounts.yaml") == []
    (problem,) = check_accounts_text(placed, ONE.replace("crm", "cmr").encode(), "accounts.yaml")
    assert "did you mean 'crm'?" in str(problem)
    write(placed, "operator.yaml", "deny: 1\n")
    with pytest.raises(PolicyError):
        check_accounts_text(placed, ONE.encode(), "accounts.yaml")


def test_the_catalog_has_the_operators_own(placed: Settings) -> None:
    catalog, problems = load_catalog(placed)
    assert problems == []
    assert catalog.is_own("crm")
    assert "github" in catalog


def test_who_is_privileged_reads_no_account(placed: Settings, tmp_path: Path) -> None:
    write(placed, "accounts.yaml", "acounts: [\n")
    assert load_operator_exceptions(placed) == ()
