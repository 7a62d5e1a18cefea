"""`egress policy`: every fault with its place and mend, and one evaluator for whoever asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import ipc
from appliance.cli import policies
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused
from tests.unit.policy.bindings import CRM


def explained(egress: Egress, *words: str) -> str:
    return egress("policy", "explain", "--tenant", "acme", *words).output


def test_check_of_a_good_document(egress: Egress, tenant: Callable[..., Path]) -> None:
    file = tenant("acme")
    assert egress("policy", "check", str(file)).output == f"{file}: ok\n"


def test_check_of_a_malformed_document(egress: Egress, tenant: Callable[..., Path]) -> None:
    file = tenant("acme", "profil: x\n")
    result = egress("policy", "check", str(file))
    assert result.exit_code == 1
    assert f"{file}:1:1: unknown key 'profil'; did you mean 'profile'?" in result.stderr
    assert "1 error, 0 warnings" in result.stdout
    document = json.loads(egress("--json", "policy", "check", str(file)).stdout)
    assert document["problems"][0]["mend"] == "did you mean 'profile'?"


def test_check_of_accounts_and_of_a_definition(egress: Egress, settings: Settings) -> None:
    settings.integrations_dir.mkdir(parents=True)
    definition = settings.integrations_dir / "crm.yaml"
    for file, bad, good, word in (
        (definition, CRM.replace("port: 443\n", ""), CRM, "crm.yaml:2:1: port is missing; write port: …"),
        (
            settings.accounts_file,
            "accounts: [{name: a, integration: cmr, tenants: [b]}]",
            "{}",
            "mean 'crm'?",
        ),
    ):
        file.write_text(bad)
        refusal = egress("policy", "check", str(file))
        assert (refusal.exit_code, word in refusal.stderr) == (1, True), refusal.output
        file.write_text(good)
        assert egress("policy", "check", str(file)).output == f"{file}: ok\n"


def test_check_of_all_documents(egress: Egress, settings: Settings, tenant: Callable[..., Path]) -> None:
    """Those too that no tenant uses, and an operator's layer without a tenant."""
    assert egress("policy", "check").output == f"{settings.config_dir}: ok\n"
    documents = {
        settings.policies_dir / "base.yaml": "ruls: []\n",
        settings.integrations_dir / "crm.yaml": CRM.replace("port: 443\n", ""),
        tenant("acme"): "profil: x\n",
        # Last, for nothing else is read without them.
        settings.accounts_file: "accounts: [{name: a, integration: cmr, tenants: [b]}]\n",
        settings.operator_file: "deny: 1\n",
    }
    for place, text in documents.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        answer = egress("policy", "check")
        assert (answer.exit_code, f"{place}:" in answer.stderr) == (1, True), answer.output
    found = json.loads(egress("--json", "policy", "check").stdout)
    assert (found["file"], found["ok"]) == (str(settings.config_dir), False)
    for words in (["--as", str(settings.operator_file)], ["--together"]):
        refused(egress("policy", "check", *words), "name it", code=2)


def test_check_of_no_file(egress: Egress, tmp_path: Path) -> None:
    refused(egress("policy", "check", str(tmp_path / "none.yaml")), "no such file")


def test_check_under_a_broken_operators_layer(
    egress: Egress, settings: Settings, tenant: Callable[..., Path]
) -> None:
    file = tenant("acme")
    settings.operator_file.write_text("deny: 1\n")
    refused(egress("policy", "check", str(file)), "operator.yaml:1:")


def test_explain_by_the_enforcing_evaluator(egress: Egress, tenant: Callable[..., Path]) -> None:
    tenant("acme")
    result = egress("policy", "explain", "--tenant", "acme", "GET", "https://example.com/")
    assert result.exit_code == 0
    assert "allowed: " in result.output
    refusal = egress("--json", "policy", "explain", "--tenant", "acme", "POST", "https://example.com/")
    assert refusal.exit_code == 1
    assert json.loads(refusal.stdout)["allowed"] is False


@pytest.mark.parametrize("word", ["[/x]", "[red]GET[/red]", "rules[0]", "G\x1bT"])
def test_what_the_caller_typed_is_no_markup(egress: Egress, tenant: Callable[..., Path], word: str) -> None:
    tenant("acme")
    printed = explained(egress, word, "https://example.com/")
    assert "refused: " in printed
    assert "\x1b" not in printed


def test_another_tenants_broken_file_is_a_note(egress: Egress, tenant: Callable[..., Path]) -> None:
    """The gateway serves acme on; whoever asks must hear the same."""
    tenant("acme")
    tenant("broken", "profil: x\n")
    result = egress("policy", "explain", "--tenant", "acme", "GET", "https://example.com/")
    assert result.exit_code == 0
    assert "note, not of acme: " in result.stderr
    assert "broken.yaml:1:1" in result.stderr
    refusal = egress("policy", "explain", "--tenant", "broken", "GET", "https://example.com/")
    refused(refusal, "broken.yaml:1:1: unknown key 'profil'; did you mean", code=2)


def test_explain_under_a_broken_operators_layer(
    egress: Egress, settings: Settings, tenant: Callable[..., Path]
) -> None:
    tenant("acme")
    settings.operator_file.write_text("deny: 1\n")
    result = egress("policy", "explain", "--tenant", "acme", "GET", "https://example.com/")
    refused(result, "operator.yaml:1:", code=2)


def test_explain_for_a_tenant_that_does_not_exist(egress: Egress) -> None:
    result = egress("policy", "explain", "--tenant", "nope", "GET", "https://example.com/")
    refused(result, "no tenant 'nope'", "egress tenant add nope")


@pytest.mark.parametrize("document", ["tenant", "named", "operator", "accounts", "integration"])
def test_schemas(egress: Egress, document: str) -> None:
    assert "properties" in json.loads(egress("policy", "schema", document).stdout)


def test_reload_of_nothing(egress: Egress) -> None:
    refused(egress("policy", "reload"), "not running; start it: sudo egress up")


def test_reload_names_who_could_not(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(_settings: Settings, name: str, _message: ipc.Message) -> ipc.Message:
        return {
            "broker": {"ok": False, "error": "policy-invalid", "detail": "accounts.yaml:1:1: no"},
            "netd": {"ok": True},
            "resolver": {"ok": False, "error": "policy-invalid", "detail": "acme.yaml:1:1: no"},
            "gateway-0": {"ok": False, "error": "not-running", "detail": "gateway-0 does not run"},
            "squid": {"ok": True},
        }[name]

    monkeypatch.setattr(policies, "ask_process", answers)
    result = egress("policy", "reload")
    refused(result, "resolver: acme.yaml:1:1: no; it keeps the last good policy", "gateway-0: not running")
    assert "broker: accounts.yaml:1:1: no; it keeps the last good policy" in result.stderr
    assert "gateway-0: acme" not in result.stderr
    monkeypatch.setattr(policies, "ask_process", lambda *_: {"ok": True})
    assert egress("policy", "reload").output == "5 processes read the policies\n"
    assert set(json.loads(egress("--json", "policy", "reload").stdout)) == {
        "broker",
        "netd",
        "resolver",
        "gateway-0",
        "squid",
    }
