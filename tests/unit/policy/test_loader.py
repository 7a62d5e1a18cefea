"""Documents on disk, read strictly."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.policy.loader import (
    PolicyError,
    check_tenant_file,
    check_tenant_text,
    load_operator_exceptions,
    load_policy_set,
)
from appliance.policy.problems import Severity
from appliance.policy.store import PolicyStore
from appliance.settings import Settings
from tests.unit.policy.placed import LISTS_A, LISTS_B, A, hosts, write

# ── strict ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_configuration_at_all_is_an_empty_set(tmp_path: Path) -> None:
    policies = load_policy_set(Settings(config_dir=tmp_path / "absent"))
    assert policies.tenants == {}
    assert hosts(policies) == set()


def test_tenants_named_policies_and_the_operator(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", "profile: allowlist\nuse: [shared]\n")
    write(settings, "tenants/other.yaml", LISTS_B)
    write(settings, "policies/shared.yaml", "rules: [{name: a, hosts: [a.example.com]}]\n")
    write(settings, "operator.yaml", "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443}]\n")
    policies = load_policy_set(settings)
    assert hosts(policies) == {"a.example.com"}
    assert hosts(policies, "other") == {"b.example.com"}
    inside = IPv4Address("10.20.0.7")
    assert policies.tenants["acme"].judge_address(inside, 443, inside).allowed
    assert not policies.tenants["other"].judge_address(inside, 443, inside).allowed
    with pytest.raises(TypeError):
        policies.tenants["evil"] = policies.tenants["acme"]  # type: ignore[index] - the point


def test_every_problem_of_every_file_is_told(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", "profil: allowlist\n")
    write(settings, "tenants/other.yaml", "profile: allowlist\nprofile: read-only-web\n")
    write(settings, "policies/shared.yaml", "rules: []\n")
    write(settings, "tenants/Bad Name.yaml", LISTS_A)
    with pytest.raises(PolicyError) as refused:
        load_policy_set(settings)
    lines = str(refused.value).splitlines()
    assert len(lines) == 4
    assert [Path(line.partition(":")[0]).name for line in lines] == [
        "shared.yaml", "Bad Name.yaml", "acme.yaml", "other.yaml",
    ]  # fmt: skip
    assert "other.yaml:2:1: found duplicate key" in lines[3]


@pytest.mark.parametrize(
    ("folder", "mend"),
    [
        (
            "tenants",
            "is no tenant name; rename it: use up to 32 of a-z, 0-9 and '-', a letter first and no '-' l",
        ),
        (
            "policies",
            "is no policy name; rename it: use up to 64 of a-z, 0-9, '.', '_' and '-', a letter or d",
        ),
    ],
)
def test_a_bad_name_is_told_with_the_grammar_of_its_kind(settings: Settings, folder: str, mend: str) -> None:
    write(settings, f"{folder}/Bad_.yaml", LISTS_A)
    with pytest.raises(PolicyError) as refused:
        load_policy_set(settings)
    assert mend in str(refused.value)


@pytest.mark.parametrize("name", ["tenants/acme.yaml", "operator.yaml"])
def test_a_document_that_everybody_may_write_is_not_read(settings: Settings, name: str) -> None:
    text = LISTS_A if name.startswith("tenants") else "deny: [{hosts: [x.example.com]}]\n"
    write(settings, name, text).chmod(0o666)
    with pytest.raises(PolicyError, match=r"everybody may write it \(mode 0666\); chmod o-w"):
        load_policy_set(settings)


def test_other_files_are_nobodys_policy(settings: Settings) -> None:
    for name in (".acme.yaml", "acme.yaml~", "acme.yaml.new", "README"):
        write(settings, f"tenants/{name}", "profile: read-only-web\n")
    assert load_policy_set(settings).tenants == {}


def test_an_exception_for_nobody_is_a_warning(settings: Settings) -> None:
    write(settings, "operator.yaml", "exceptions: [{tenant: ghost, cidr: 10.20.0.0/24, port: 443}]\n")
    assert load_policy_set(settings).tenants == {}
    store = PolicyStore(settings)
    store.reload()
    assert store.last_error is None
    assert [w.severity for w in store.warnings] == [Severity.WARNING]
    assert "ghost" in store.warnings[0].message


def test_the_operators_exceptions_are_read_without_any_tenants_word(settings: Settings) -> None:
    """The privileged part asks: a tenant's document, however broken, is not even opened."""
    write(settings, "tenants/broken.yaml", "profile: [")
    write(settings, "operator.yaml", "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443}]\n")
    assert load_operator_exceptions(settings) == ((IPv4Network("10.20.0.0/24"), 443),)
    write(settings, "operator.yaml", "exceptions: 1\n")
    with pytest.raises(PolicyError, match=r"operator\.yaml:1"):
        load_operator_exceptions(settings)
    settings.operator_file.unlink()
    assert load_operator_exceptions(settings) == ()


def test_addresses_that_the_operator_denies_bind_every_tenant_at_once(settings: Settings) -> None:
    address = IPv4Address("93.184.216.34")
    write(settings, "tenants/acme.yaml", "profile: read-only-web\n")
    store = PolicyStore(settings)
    store.reload()
    before = store.current.for_tenant("acme")
    assert before.judge_address(A, 443, address).allowed
    write(settings, "operator.yaml", "deny_addresses: [93.184.216.0/25, 93.184.216.128/25]\n")
    store.reload()
    assert store.current.denied == (IPv4Network("93.184.216.0/24"),)
    after = store.current.for_tenant("acme")
    assert after is not before, "what is under way is judged again"
    assert not after.judge_address(A, 443, address).allowed


def test_a_document_is_judged_before_it_has_a_place(settings: Settings) -> None:
    assert check_tenant_text(settings, b"profile: allowlist\n", "draft.yaml", "acme") == []
    (problem,) = check_tenant_text(settings, b"profil: allowlist\n", "draft.yaml", "acme")
    assert str(problem).startswith("draft.yaml:1:1: unknown key 'profil'; did you mean")
    (problem,) = check_tenant_text(settings, b"\xff", "draft.yaml", "acme")
    assert "not UTF-8" in problem.message
    (problem,) = check_tenant_text(settings, b"a: &x 1\n", "draft.yaml", "acme")
    assert problem.mend == "write the value out"


def test_no_exception_for_the_appliances_uplink_g3(settings: Settings) -> None:
    write(settings, "operator.yaml", "exceptions: [{tenant: acme, cidr: 198.18.0.0/15, port: 443}]\n")
    with pytest.raises(PolicyError, match="the appliance's own link"):
        load_policy_set(settings)


def test_the_generation_is_of_the_content(settings: Settings) -> None:
    write(settings, "tenants/acme.yaml", LISTS_A)
    first = load_policy_set(settings).generation
    assert load_policy_set(settings).generation == first
    for name, text in (
        ("tenants/acme.yaml", LISTS_A + "# comment\n"),
        ("operator.yaml", "deny: [{hosts: [x.example.com]}]\n"),
        ("tenants/other.yaml", LISTS_B),
    ):
        write(settings, name, text)
        then = load_policy_set(settings).generation
        assert then != first
        first = then


# ── one file, before it is put in place ────────────────────────────────────────────────────────────────────


def test_checking_a_draft(settings: Settings) -> None:
    write(settings, "operator.yaml", "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443}]\n")
    draft = write(settings, "tenants/acme.yaml.new", "rules: [{name: a, hosts: [10.20.0.5]}]\n")
    assert check_tenant_file(settings, draft) == []
    stranger = write(settings, "tenants/other.yaml.new", "rules: [{name: a, hosts: [10.20.0.5]}]\n")
    (problem,) = check_tenant_file(settings, stranger)
    assert str(problem).startswith(f"{stranger}:1:27: 10.20.0.5 is an address")
    broken = write(settings, "tenants/acme.yaml.new", "rules: [\n")
    (problem,) = check_tenant_file(settings, broken)
    assert problem.position.line == 2
    (problem,) = check_tenant_file(settings, settings.tenants_dir / "absent.yaml")
    assert "cannot be read: No such file" in str(problem)


def test_warnings_on_demand(settings: Settings) -> None:
    text = "rules:\n  - {name: a, hosts: [a.example.com], methods: [GET, PUT]}\n"
    draft = write(
        settings, "acme.yaml", text + "  - {name: b, hosts: [a.example.com], methods: [GET, DELETE]}\n"
    )
    assert check_tenant_file(settings, draft) == []
    assert len(check_tenant_file(settings, draft, Severity.WARNING)) == 1


def test_a_draft_cannot_be_checked_under_a_broken_operator_layer(settings: Settings) -> None:
    write(settings, "operator.yaml", "alow: []\n")
    draft = write(settings, "acme.yaml", LISTS_A)
    with pytest.raises(PolicyError, match="did you mean 'allow'"):
        check_tenant_file(settings, draft)


@pytest.mark.parametrize("what", ["directory", "dangling link", "fifo"])
def test_what_is_no_regular_file_is_told_and_does_not_block(settings: Settings, what: str) -> None:
    place = settings.tenants_dir / "acme.yaml"
    if what == "directory":
        place.mkdir()
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("nowhere")
    with pytest.raises(PolicyError, match=r"acme\.yaml:1:1: "):
        load_policy_set(settings)
