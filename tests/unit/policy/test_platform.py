"""The broker's own destinations: those of the settings, judged as any other, and nobody else's."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.policy.loader import load_operator_exceptions, load_policy_set
from appliance.policy.platform import ACCOUNT
from appliance.policy.problems import PolicyError
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.policy.tenant import TenantPolicy
from appliance.policy.token_hosts import judge_token_host
from appliance.policy.verdict import Reason
from appliance.settings import Settings
from appliance.workload import PLATFORM
from tests.unit.policy.placed import write
from tests.unit.policy.written import host

CA = host("ca.example")
INSIDE = IPv4Address("10.20.0.7")


@pytest.fixture
def asking(tmp_path: Path) -> Settings:
    made = Settings.model_validate(
        {
            "config_dir": tmp_path,
            "enrolment": {"external_ca": {"url": "https://ca.example:8443/sign", "trust": "/etc/ca.pem"}},
        }
    )
    made.tenants_dir.mkdir()
    write(made, "tenants/acme.yaml", "profile: read-only-web\n")
    return made


def platform(settings: Settings) -> TenantPolicy:
    return load_policy_set(settings).for_tenant(PLATFORM)


def reason(policy: TenantPolicy, name: str = "ca.example", port: int | None = 8443) -> Reason:
    return judge_token_host(policy, ACCOUNT, host(name), port).reason


def test_exactly_what_the_settings_name_may_be_asked(asking: Settings) -> None:
    policy = platform(asking)
    assert reason(policy) is Reason.ALLOWED_BY_INTEGRATION
    for name, port in (("ca.example", 443), ("a.ca.example", 8443), ("other.example", 8443)):
        assert reason(policy, name, port) is Reason.TOKEN_HOST_NOT_NAMED
    assert policy.judge_address(CA, 8443, IPv4Address("93.184.216.34")).allowed


def test_no_container_is_let_there_by_that(asking: Settings) -> None:
    policies = load_policy_set(asking)
    assert policies.for_tenant(PLATFORM).judge_host("https", CA, 8443).reason is Reason.HOST_NOT_LISTED
    assert policies.for_tenant("acme").account(ACCOUNT) is None
    assert reason(policies.for_tenant("acme")) is Reason.TOKEN_HOST_NOT_NAMED
    assert PLATFORM not in policies.tenants


def test_without_settings_or_documents_nothing_is_asked(asking: Settings) -> None:
    assert reason(PolicySet().for_tenant(PLATFORM)) is Reason.NO_POLICY
    assert reason(platform(Settings(config_dir=asking.config_dir))) is Reason.TOKEN_HOST_NOT_NAMED


def test_a_private_address_needs_the_operators_exception_and_a_special_one_gets_none(
    asking: Settings,
) -> None:
    assert platform(asking).judge_address(CA, 8443, INSIDE).reason is Reason.PRIVATE_ADDRESS
    write(asking, "operator.yaml", "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 8443}]\n")
    assert platform(asking).judge_address(CA, 8443, INSIDE).reason is Reason.PRIVATE_ADDRESS
    excepted = 'exceptions: [{tenant: "@platform", cidr: 10.20.0.0/24, port: 8443, name: ca.example}]\n'
    write(asking, "operator.yaml", excepted)
    policies = load_policy_set(asking)
    assert policies.for_tenant(PLATFORM).judge_address(CA, 8443, INSIDE).allowed
    assert not policies.for_tenant(PLATFORM).judge_address(CA, 443, INSIDE).allowed
    assert not policies.for_tenant("acme").judge_address(CA, 8443, INSIDE).allowed
    assert [port for _, port in load_operator_exceptions(asking)] == [8443]
    write(
        asking, "operator.yaml", 'exceptions: [{tenant: "@platform", cidr: 169.254.169.254/32, port: 8443}]\n'
    )
    with pytest.raises(PolicyError):
        load_policy_set(asking)
    write(asking, "operator.yaml", 'exceptions: [{tenant: "@other", cidr: 10.20.0.0/24, port: 8443}]\n')
    with pytest.raises(PolicyError, match="tenant name"):
        load_policy_set(asking)


def test_the_operators_denials_stand_above(asking: Settings) -> None:
    write(asking, "operator.yaml", "deny: [{hosts: [ca.example]}]\ndeny_addresses: [93.184.216.0/24]\n")
    policy = platform(asking)
    assert reason(policy) is reason(policy, port=None) is Reason.HOST_DENIED_BY_OPERATOR
    denied = policy.judge_address(CA, 8443, IPv4Address("93.184.216.34"))
    assert denied.reason is Reason.ADDRESS_DENIED


def test_an_exception_for_the_platform_is_no_tenant_that_is_missing(asking: Settings) -> None:
    write(asking, "operator.yaml", 'exceptions: [{tenant: "@platform", cidr: 10.20.0.0/24, port: 8443}]\n')
    store = PolicyStore(asking)
    first = store.reload().for_tenant(PLATFORM)
    assert store.warnings == ()
    write(asking, "tenants/other.yaml", "profile: allowlist\n")
    assert store.reload().for_tenant(PLATFORM) is first
    write(asking, "operator.yaml", "{}\n")
    assert store.reload().for_tenant(PLATFORM) is not first


def test_no_tenant_can_be_called_so(asking: Settings) -> None:
    write(asking, "tenants/@platform.yaml", "profile: read-only-web\n")
    with pytest.raises(PolicyError, match="tenant name"):
        load_policy_set(asking)
