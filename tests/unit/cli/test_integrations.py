"""`egress integration`: accounts.yaml is edited whole or not at all, and `test` asks the evaluator."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.policy.store import PolicyStore
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused
from tests.unit.policy.bindings import CRM

Tenant = Callable[..., Path]


@pytest.fixture
def acme(tenant: Tenant, settings: Settings) -> Settings:
    tenant("acme", "profile: allowlist\n")
    tenant("other", "profile: allowlist\n")
    return settings


def accounts(settings: Settings, text: str) -> None:
    settings.accounts_file.write_text(text)
    settings.accounts_file.chmod(0o644)


def emitted(egress: Egress, *words: str) -> Any:
    return json.loads(egress("--json", "integration", *words).stdout)


def test_an_account_is_added_used_and_removed(egress: Egress, acme: Settings) -> None:
    result = egress(
        "integration", "add", "openai", "--tenant", "acme", "--group", "chat", "--group", "models"
    )
    assert result.exit_code == 0, result.output
    assert "egress secret set openai-acme --tenant acme --integration openai" in result.output
    assert stat.S_IMODE(acme.accounts_file.stat().st_mode) == 0o644  # the gateway's uid reads it
    account = PolicyStore(acme).reload().for_tenant("acme").account("openai-acme")
    assert account is not None
    assert list(account.groups) == ["chat", "models"]
    assert egress("integration", "rm", "openai-acme").exit_code == 0
    assert PolicyStore(acme).reload().for_tenant("acme").account("openai-acme") is None
    assert not list(acme.config_dir.glob(".accounts*"))


def test_comments_stay(egress: Egress, acme: Settings) -> None:
    accounts(
        acme,
        "# ours\naccounts:\n  # for the bot\n  - name: bot # one\n    integration: slack\n    tenants: [acme]\n",
    )
    words = (
        "rest",
        "--tenant",
        "acme",
        "--tenant",
        "other",
        "--name",
        "erp",
        "--host",
        "erp.example.com",
        "--secret",
        "k",
    )
    assert egress("integration", "add", *words).exit_code == 0
    text = acme.accounts_file.read_text()
    assert text == (
        "# ours\naccounts:\n  # for the bot\n  - name: bot # one\n    integration: slack\n    tenants: [acme]\n"
        "  - name: erp\n    integration: rest\n    tenants: [acme, other]\n    secret: k\n    host: erp.example.com\n"
    )
    assert egress("integration", "rm", "erp").exit_code == 0
    assert acme.accounts_file.read_text() == text.partition("  - name: erp")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("opnai", "--tenant", "acme"), "did you mean 'openai'?"),
        (("openai", "--tenant", "acme", "--group", "caht"), "did you mean 'chat'?"),
        (("rest", "--tenant", "acme"), "rest asks for the host"),
        (("aws", "--tenant", "acme"), "parameter 'region' of aws is missing"),
        (("openai", "--tenant", "acme", "--name", "Bad Name"), "no account name"),
        (("slack", "--tenant", "acme"), "allow the same requests to slack.com"),
        (("openai", "--tenant", "ghost"), "no tenant 'ghost'"),
    ],
)
def test_what_the_loader_would_not_take_is_not_written(
    egress: Egress, acme: Settings, words: tuple[str, ...], said: str
) -> None:
    before = "accounts:\n- {name: bot, integration: slack, tenants: [acme]}\n"
    accounts(acme, before)
    refused(egress("integration", "add", *words), said)
    assert acme.accounts_file.read_text() == before


def test_a_parameter_is_a_name_and_a_value(egress: Egress, acme: Settings) -> None:
    refused(
        egress("integration", "add", "aws", "--tenant", "acme", "--parameter", "region"), "NAME=VALUE", code=2
    )
    words = ("--parameter", "region=eu-west-1", "--parameter", "bucket=a1", "--parameter", "bucket=b1")
    assert egress("integration", "add", "aws", "--tenant", "acme", *words).exit_code == 0
    facts = emitted(egress, "show", "aws-acme")
    assert "b1.s3.eu-west-1.amazonaws.com" in facts["hosts"]


def test_a_document_that_cannot_be_read_is_left_alone(egress: Egress, acme: Settings) -> None:
    accounts(acme, "accounts: [\n")
    refused(egress("integration", "add", "openai", "--tenant", "acme"), "mend that first")
    refused(egress("integration", "rm", "openai-acme"), "mend that first")
    assert acme.accounts_file.read_text() == "accounts: [\n"


def test_who_is_not_there_is_not_removed(egress: Egress, acme: Settings) -> None:
    refused(egress("integration", "rm", "none"), "no account 'none'", "egress integration list")


def test_list_and_show(egress: Egress, acme: Settings) -> None:
    acme.integrations_dir.mkdir()
    (acme.integrations_dir / "crm.yaml").write_text(CRM)
    accounts(acme, "accounts: [{name: c, integration: crm, tenants: [acme, other]}]\n")
    result = egress("integration", "list")
    assert result.exit_code == 0
    for word in ("c", "acme, other", "api.crm.example", "openai", "GitHub", "here", "appliance"):
        assert word in result.output
    listed = emitted(egress, "list")
    assert [a["name"] for a in listed["accounts"]] == ["c"]
    assert {i["name"]: i["own"] for i in listed["integrations"]}["crm"] is True
    assert emitted(egress, "show", "c")["groups"][0]["slot"] == "Authorization: Bearer"
    assert emitted(egress, "show", "stripe")["hosts"] == ["api.stripe.com", "files.stripe.com"]
    assert emitted(egress, "show", "gcp")["token_hosts"] == ["oauth2.googleapis.com:443"]
    assert emitted(egress, "show", "rest")["token_host"] == "ask"
    assert "oauth2.googleapis.com:443" in egress("integration", "show", "gcp").output
    for name in ("c", "stripe", "aws", "rest-query"):
        shown = egress("integration", "show", name)
        assert shown.exit_code == 0
        assert "GROUP" in shown.output
    refused(egress("integration", "show", "none"), "no account and no integration 'none'")


def test_an_account_says_where_its_secret_is_exchanged(egress: Egress, acme: Settings) -> None:
    add = ("integration", "add", "rest", "--tenant", "acme", "--host", "api.crm.example", "--name")
    assert egress(*add, "a").exit_code == 0
    assert emitted(egress, "show", "a")["token_hosts"] == ["api.crm.example:443"]
    assert egress("integration", "rm", "a").exit_code == 0
    assert (
        egress(*add, "b", "--token-host", "login.example", "--token-host", "id.example:8443").exit_code == 0
    )
    assert emitted(egress, "show", "b")["token_hosts"] == ["id.example:8443", "login.example:443"]
    refused(egress(*add, "c", "--token-host", "a b"), "--token-host", code=2)


def test_show_says_what_is_wrong_with_a_definition_of_ones_own(egress: Egress, acme: Settings) -> None:
    acme.integrations_dir.mkdir()
    (acme.integrations_dir / "crm.yaml").write_text(CRM.replace("api.crm.example", "'*.com'"))
    refused(egress("integration", "show", "crm"), "anybody can register", "crm.yaml:5:")


@pytest.mark.parametrize(
    ("words", "carried", "said"),
    [
        (("GET", "https://api.openai.com/v1/models"), True, "carried by a, group models"),
        (("POST", "https://api.openai.com/v1/chat/completions", "--content-type", "application/json", "--length", "9"),
         True, "carried by a, group chat"),
        (("POST", "https://api.openai.com/v1/chat/completions", "--content-type", "text/plain", "--length", "9"),
         False, "content-type-not-allowed"),
        (("DELETE", "https://api.openai.com/v1/models/x"), False, "method-not-allowed"),
        (("GET", "https://api.openai.com/v1/other"), False, "path-not-allowed"),
        (("GET", "http://api.openai.com/v1/models"), False, "host-not-listed"),
        (("GET", "https://api.openai.com.evil.example/v1/models"), False, "host-not-listed"),
        (("GET", "https://slack.com/api/users.list"), False, "no secret of a goes with it"),
        (("GET", "https://a\x1b[31m.example/"), False, "request-malformed"),
    ],
)  # fmt: skip
def test_004_33_test_asks_the_evaluator(
    egress: Egress, acme: Settings, words: tuple[str, ...], carried: object, said: str
) -> None:
    accounts(
        acme,
        "accounts:\n- {name: a, integration: openai, tenants: [acme], groups: [chat, models]}\n"
        "- {name: b, integration: slack, tenants: [acme]}\n",
    )
    result = egress("integration", "test", "a", *words)
    assert result.exit_code == (0 if carried else 1)
    assert said in result.output
    assert "\x1b[31m" not in result.output
    assert emitted(egress, "test", "a", *words)["carried"] is carried


def test_test_of_nobodys_account(egress: Egress, acme: Settings) -> None:
    accounts(acme, "accounts: [{name: a, integration: openai, tenants: [acme]}]\n")
    url = "https://api.openai.com/v1/models"
    refused(egress("integration", "test", "b", "GET", url), "no account 'b' in force", code=2)
    refused(egress("integration", "test", "a", "GET", url, "--tenant", "other"), "bound to acme", code=2)


def test_only_root_changes_accounts(egress: Egress, acme: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(egress("integration", "add", "openai", "--tenant", "acme"), "needs root")
    refused(egress("integration", "rm", "a"), "needs root")
