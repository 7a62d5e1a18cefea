"""The last good policies stay in force (attack G2), and what has not changed is not read again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from appliance import yamldoc
from appliance.policy.hosts import public_suffixes
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.settings import Settings
from appliance.yamldoc import Document
from tests.unit.policy.placed import LISTS_A, LISTS_B, hosts, write
from tests.unit.policy.written import request


def test_a_reload_that_fails_keeps_the_last_good_policy_g2(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    assert hosts(store.current) == set()
    assert hosts(store.reload()) == {"a.example.com"}
    for broken in ("", "profile: [", "profile: open\n", "rules: [{name: a, hosts: ['*']}]\n", "\xff"):
        (settings.tenants_dir / "acme.yaml").write_bytes(broken.encode("latin-1"))
        assert hosts(store.reload()) == {"a.example.com"}, broken
        assert store.last_error is not None
        assert "acme.yaml:1:" in str(store.last_error)
    write(settings, "tenants/acme.yaml", LISTS_B)
    assert hosts(store.reload()) == {"b.example.com"}
    assert store.last_error is None


def test_a_tenant_that_was_never_good_stays_closed_and_harms_nobody_g2(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", "profil: read-only-web\n")
    write(settings, "tenants/other.yaml", LISTS_B)
    store = PolicyStore(settings)
    policies = store.reload()
    assert policies.for_tenant("acme").judge(request("https://a.example.com/")).reason == "no-policy"
    assert hosts(policies, "other") == {"b.example.com"}
    assert store.last_error is not None


def test_a_broken_operator_layer_keeps_the_last_one_g2(settings: Settings) -> None:
    write(settings, "operator.yaml", "deny: [{hosts: [a.example.com]}]\n")
    write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    assert hosts(store.reload()) == set()
    write(settings, "operator.yaml", "deney: []\n")
    write(settings, "tenants/acme.yaml", "profile: read-only-web\n")
    assert hosts(store.reload()) == {"b.example.com"}
    assert store.last_error is not None


def test_an_operator_layer_that_was_never_good_closes_everything_g2(settings: Settings) -> None:
    write(settings, "operator.yaml", "deney: []\n")
    write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    assert store.reload().tenants == {}


def test_a_kept_tenant_still_gets_the_operators_new_denials(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    store.reload()
    write(settings, "tenants/acme.yaml", "broken: [")
    write(settings, "operator.yaml", "deny: [{hosts: [a.example.com]}]\n")
    assert hosts(store.reload()) == set()


def test_a_removed_tenant_is_closed(settings: Settings) -> None:
    file = write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    store.reload()
    file.unlink()
    assert hosts(store.reload()) == set()
    assert store.last_error is None


def test_a_broken_named_policy_keeps_its_users_as_they_were(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", "profile: allowlist\nuse: [shared]\n")
    write(settings, "policies/shared.yaml", "rules: [{name: a, hosts: [a.example.com]}]\n")
    store = PolicyStore(settings)
    store.reload()
    write(settings, "policies/shared.yaml", "rules: []\n")
    assert hosts(store.reload()) == {"a.example.com"}
    assert "policy 'shared' has errors" in str(store.last_error)


def test_listeners_hear_of_changes_only_and_unchanged_tenants_stay_the_same_object(
    settings: Settings,
) -> None:
    write(settings, "tenants/acme.yaml", LISTS_A)
    write(settings, "tenants/other.yaml", LISTS_B)
    store = PolicyStore(settings)
    heard: list[PolicySet] = []
    store.listen(heard.append)
    first = store.reload()
    assert heard == [first]
    assert store.reload() is first
    assert len(heard) == 1
    write(settings, "tenants/acme.yaml", LISTS_B)
    second = store.reload()
    assert heard == [first, second]
    assert second.tenants["other"] is first.tenants["other"]
    assert second.tenants["acme"] is not first.tenants["acme"]


def missing(file: Path) -> None:
    file.unlink()


def dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def looping(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


@pytest.mark.parametrize("lose", [missing, dangling, looping])
def test_an_operator_layer_that_is_lost_stays_in_force_until_one_says_otherwise(
    settings: Settings, lose: Callable[[Path], None]
) -> None:
    denies = "deny: [{hosts: [a.example.com]}]\ndeny_addresses: [93.184.216.0/24]\n"
    file = write(settings, "operator.yaml", denies)
    write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    store.reload()
    lose(file)
    assert hosts(store.reload()) == set()
    assert store.current.denied
    assert "operator.yaml:1:1: " in str(store.last_error)
    file.unlink(missing_ok=True)
    write(settings, "operator.yaml", "{}\n")
    assert hosts(store.reload()) == {"a.example.com"}
    assert store.last_error is None
    file.unlink()
    store.reload()
    assert store.last_error is None, "nothing of it is lost"


@pytest.mark.parametrize("link", ["nowhere", "operator.yaml"])
def test_a_link_that_leads_nowhere_is_no_absent_operator_layer(settings: Settings, link: str) -> None:
    settings.operator_file.symlink_to(link)
    write(settings, "tenants/acme.yaml", LISTS_A)
    store = PolicyStore(settings)
    assert hosts(store.reload()) == set()
    assert store.last_error is not None


def test_only_what_has_changed_is_read_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(settings, "operator.yaml", "deny: [{hosts: [a.example.com]}]\n")
    write(settings, "policies/shared.yaml", "rules: [{name: b, hosts: [b.example.com]}]\n")
    write(settings, "tenants/acme.yaml", "profile: allowlist\nuse: [shared]\n")
    write(settings, "tenants/bad.yaml", "profil: [1, 2]\n")
    read: list[str] = []
    real = yamldoc.loading

    def loading(raw: bytes, file: str) -> Generator[None, None, Document]:
        read.append(Path(file).stem)
        return real(raw, file)

    monkeypatch.setattr(yamldoc, "loading", loading)
    store = PolicyStore(settings)
    store.reload()
    assert sorted(read) == ["acme", "bad", "operator", "shared"]
    told = str(store.last_error)
    read.clear()
    store.reload()
    assert (read, str(store.last_error)) == ([], told)
    write(settings, "tenants/acme.yaml", LISTS_B)
    store.reload()
    assert read == ["acme"]
    read.clear()
    write(settings, "policies/shared.yaml", "rules: [{name: b, hosts: [c.example.com]}]\n")
    store.reload()
    assert sorted(read) == ["acme", "bad", "shared"], "those that may use it are judged again"


def test_no_reload_reads_the_public_suffixes(settings: Settings) -> None:
    public_suffixes.cache_clear()
    store = PolicyStore(settings)
    assert public_suffixes.cache_info().currsize == 1
    write(settings, "tenants/acme.yaml", "rules: [{name: a, hosts: ['*.example.com']}]\n")
    store.reload()
    assert public_suffixes.cache_info().misses == 1
