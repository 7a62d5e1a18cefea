"""What ends with an account, a secret, a workload, an execution, the vault's key; and what does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from appliance.broker.calls.withdrawing import Withdrawing
from appliance.broker.handles import Bound as HandleBound
from appliance.broker.handles import Handles
from appliance.broker.vault.kinds import StaticSecret
from appliance.policy.bound import Bound
from appliance.policy.set import PolicySet
from appliance.policy.tenant import Profile, TenantPolicy
from tests.unit.broker.calls.support import ATTESTED, SECRET, STORED, account

CRM = account().accounts["crm"]
BANK = replace(CRM, name="bank", integration="bank-api", secret="bank-key")
TWIN = replace(CRM, name="crm-twin")


def policies(*accounts, tenant: str = "acme") -> PolicySet:
    bound = Bound.of(accounts, [])
    return PolicySet({tenant: TenantPolicy(tenant, "one", profile=Profile.READ_ONLY_WEB, bound=bound)}, "one")


class Rig:
    def __init__(self) -> None:
        self.handles = Handles(Clock())
        self.forgotten: list[tuple] = []
        self.calls = [
            (replace(ATTESTED, request_id="of-crm"), CRM),
            (replace(ATTESTED, request_id="of-bank", endpoint="e2"), BANK),
            (replace(ATTESTED, request_id="of-globex", tenant="globex", endpoint="e3"), CRM),
            (replace(ATTESTED, request_id="undecided", endpoint="e2"), None),
        ]
        self.named = {
            name: self.handles.register(
                self.handles.ask(HandleBound(tenant, endpoint, name, f"{name}-api", f"{name}-key")),
                StaticSecret(kind="static", value=SECRET),
                STORED,
                lambda: None,
            )
            for name, tenant, endpoint in (
                ("crm", "acme", "e1"),
                ("bank", "acme", "e2"),
                ("other", "globex", "e3"),
            )
        }
        self.ended: dict[str, str] = {}
        exchanged = SimpleNamespace(
            forget=lambda *whose: self.forgotten.append(whose),
            forget_everything=lambda: self.forgotten.append(("everything",)),
        )
        self.withdrawing = Withdrawing(exchanged, self.handles, self)
        self.withdrawing.policies_changed(policies(CRM, BANK))
        assert (self.ended, self.forgotten) == ({}, [])

    def end(self, which, refusal) -> None:
        """See `UnderWay`."""
        for attestation, its in self.calls:
            if which(attestation, its):
                self.ended[attestation.request_id] = refusal.reason

    @property
    def alive(self) -> set[str]:
        return {bound.account for bound, _ in self.handles.live()}


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    "now",
    [
        policies(BANK), policies(BANK, replace(CRM, secret="crm-key-2")),
        policies(BANK, replace(CRM, integration="crm-api-2")),
    ],
)  # fmt: skip
def test_an_account_that_goes_or_gets_another_secret_takes_its_own_along(rig: Rig, now: PolicySet) -> None:
    rig.withdrawing.policies_changed(now)
    assert rig.ended == {"of-crm": "account-withdrawn"}
    assert rig.forgotten == [("acme", "crm")]
    assert rig.alive == {"bank", "other"}


def test_a_tenant_that_goes_takes_all_of_its_accounts_along(rig: Rig) -> None:
    rig.withdrawing.policies_changed(policies(CRM, tenant="globex"))
    assert rig.ended == {"of-crm": "account-withdrawn", "of-bank": "account-withdrawn"}
    assert sorted(rig.forgotten) == [("acme", "bank"), ("acme", "crm")]


def test_any_other_change_of_policy_ends_nothing(rig: Rig) -> None:
    rig.withdrawing.policies_changed(policies(replace(CRM, kinds=frozenset()), BANK, TWIN))
    assert (rig.ended, rig.forgotten, rig.alive) == ({}, [], {"crm", "bank", "other"})


def test_a_secret_that_is_removed_ends_all_that_use_it(rig: Rig) -> None:
    rig.withdrawing.policies_changed(policies(CRM, BANK, TWIN))
    rig.withdrawing.secret_changed("acme", "crm-api", "crm-key", removed=True)
    assert rig.ended == {"of-crm": "account-withdrawn"}
    assert sorted(rig.forgotten) == [("acme", "crm"), ("acme", "crm-twin")]
    assert rig.alive == {"bank", "other"}


def test_a_secret_that_is_replaced_ends_no_call_and_what_was_made_of_it_before(rig: Rig) -> None:
    rig.withdrawing.secret_changed("acme", "crm-api", "crm-key", removed=False)
    assert rig.ended == {}
    assert rig.forgotten == [("acme", "crm")]
    assert rig.alive == {"bank", "other"}


@pytest.mark.parametrize("place", [("globex", "crm-api", "crm-key"), ("acme", "bank-api", "crm-key"), ("acme", "crm-api", "key")])  # fmt: skip
def test_a_secret_of_another_place_is_another(rig: Rig, place: tuple[str, str, str]) -> None:
    rig.withdrawing.secret_changed(*place, removed=True)
    assert rig.ended == ({"of-globex": "account-withdrawn"} if place[0] == "globex" else {})
    assert rig.alive == {"crm", "bank", "other"}


def test_000_33_a_workload_that_is_disabled_has_nothing_under_way(rig: Rig) -> None:
    rig.withdrawing.workload_disabled("e2")
    assert rig.ended == {"of-bank": "workload_disabled", "undecided": "workload_disabled"}
    assert rig.alive == {"crm", "other"}


def test_004_17_what_a_killed_execution_has_under_way_ends_but_the_call_that_says_why(rig: Rig) -> None:
    rig.withdrawing.execution_ended("e2", "undecided")
    assert rig.ended == {"of-bank": "execution-ended"}


def test_a_locked_vault_serves_nobody_from_what_it_had_opened(rig: Rig) -> None:
    rig.withdrawing.vault_locked()
    assert rig.ended == dict.fromkeys(("of-crm", "of-bank", "of-globex"), "vault-locked")
    assert rig.forgotten == [("everything",)]
    assert rig.alive == set()
    rig.handles.ask(HandleBound("acme", "e1", "crm", "crm-api", "crm-key"))
