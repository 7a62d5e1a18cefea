"""A document is judged in the place where it is to stand, before it stands there."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused
from tests.unit.policy.bindings import CRM


@pytest.fixture
def draft(tmp_path: Path) -> Callable[[str], str]:
    """Writes a document where no process looks for one."""

    def write(text: str) -> str:
        file = tmp_path / ".ansible-x1.yaml"
        file.write_text(text)
        return str(file)

    return write


def test_a_tenants_policy_under_any_name(
    egress: Egress, settings: Settings, tenant: Callable[..., Path], draft: Callable[[str], str]
) -> None:
    place = str(tenant("acme"))
    good = draft("profile: allowlist\n")
    assert egress("policy", "check", good, "--as", place).output == f"{good}: ok\n"
    bad = draft("profil: allowlist\n")
    answer = egress("policy", "check", bad, "--as", place)
    assert answer.exit_code == 1
    assert f"{bad}:1:1: unknown key 'profil'; did you mean 'profile'?" in answer.stderr
    assert Path(place).read_text() == "profile: read-only-web\n"
    assert "egress-policy-" not in answer.output


@pytest.mark.parametrize(
    ("place", "good", "bad", "word"),
    [
        ("operator.yaml", "deny_addresses: [198.51.100.0/24]\n", "denny: []\n", "unknown key 'denny'"),
        ("policies/base.yaml", "rules: [{name: a, hosts: [a.example.com]}]\n", "rules: 1\n", "rules"),
        ("integrations/crm.yaml", CRM, "name: crm\n", "missing"),
        ("accounts.yaml", "{}\n", "accounts: [{name: a, integration: no, tenants: [b]}]\n", "no"),
    ],
)
def test_every_kind_of_document(  # noqa: PLR0917 - a row of the table
    egress: Egress,
    settings: Settings,
    draft: Callable[[str], str],
    place: str,
    good: str,
    bad: str,
    word: str,
) -> None:
    there = str(settings.config_dir / place)
    assert egress("policy", "check", draft(good), "--as", there).exit_code == 0
    answer = egress("policy", "check", draft(bad), "--as", there)
    assert (answer.exit_code, word in answer.stderr) == (1, True), answer.output


def test_what_it_would_do_to_other_documents_counts_and_what_is_wrong_already_does_not(
    egress: Egress, settings: Settings, tenant: Callable[..., Path], draft: Callable[[str], str]
) -> None:
    tenant("broken", "profil: x\n")
    user = tenant("acme", "profile: allowlist\nuse: [base]\n")
    settings.policies_dir.mkdir()
    base = settings.policies_dir / "base.yaml"
    base.write_text("rules: [{name: a, hosts: [a.example.com]}]\n")
    assert egress("policy", "check", draft("rules: []\n"), "--as", str(base)).exit_code == 1
    answer = json.loads(egress("--json", "policy", "check", draft("rules: 1\n"), "--as", str(base)).stdout)
    assert {problem["file"] for problem in answer["problems"]} >= {str(user)}
    same = egress("policy", "check", draft(base.read_text()), "--as", str(base))
    assert same.exit_code == 0, same.output


@pytest.mark.parametrize("stands", [True, False])
def test_what_is_wrong_with_the_document_itself_is_told_though_it_stands_there_already(
    egress: Egress,
    settings: Settings,
    tenant: Callable[..., Path],
    draft: Callable[[str], str],
    *,
    stands: bool,
) -> None:
    text = "profil: allowlist\n"
    place = tenant("acme", text if stands else "profile: allowlist\n")
    forms = [(draft(text), "--as", str(place))]
    if stands:
        forms.append((str(place), "--as", str(place)))
    for file, *words in forms:
        answer = egress("policy", "check", file, *words)
        assert (answer.exit_code, f"{file}:1:1: unknown key 'profil'" in answer.stderr) == (1, True)
    answer = egress("policy", "check", draft(f"{place} {json.dumps(text)}\n"), "--together")
    assert (answer.exit_code, f"{place}:1:1: unknown key 'profil'" in answer.stderr) == (1, True)


@pytest.mark.parametrize("place", ["egress.yaml", "tenants/acme.yml", "../acme.yaml", "tenants/x/acme.yaml"])
def test_a_place_that_is_no_documents(
    egress: Egress, settings: Settings, draft: Callable[[str], str], place: str
) -> None:
    there = str(settings.config_dir / place)
    refused(egress("policy", "check", draft("{}"), "--as", there), "no document of this instance", code=2)


def test_a_document_from_a_pipe(egress: Egress, tmp_path: Path, tenant: Callable[..., Path]) -> None:
    place, pipe = str(tenant("acme")), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("profil: allowlist\n",))
    writer.start()
    answer = egress("policy", "check", str(pipe), "--as", place)
    writer.join()
    assert f"{pipe}:1:1: unknown key 'profil'" in answer.stderr


def test_documents_are_judged_together(
    egress: Egress, settings: Settings, tenant: Callable[..., Path], draft: Callable[[str], str]
) -> None:
    acme, base = tenant("acme"), settings.policies_dir / "base.yaml"
    uses = f"{acme} {json.dumps('profile: allowlist' + chr(10) + 'use: [base]' + chr(10))}\n"
    rules = f"{base} {json.dumps('rules: [{name: a, hosts: [a.example.com]}]')}\n"
    assert egress("policy", "check", draft(uses), "--together").exit_code == 1
    answer = egress("policy", "check", draft(f"\n{uses}{rules}"), "--together")
    assert answer.exit_code == 0, answer.output
    bad = egress(
        "policy", "check", draft(f'{uses}{rules}{settings.tenants_dir}/b.yaml "profil: x"'), "--together"
    )
    assert bad.exit_code == 1
    assert f"{settings.tenants_dir}/b.yaml:1:1: unknown key 'profil'" in bad.stderr
    assert acme.read_text() == "profile: read-only-web\n"
    assert not base.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('/etc/passwd "x"\n', "/etc/passwd: no document of this instance"),
        ("operator.yaml\n", ":1: no PLACE"),
        ("operator.yaml {}\n", ":1: no PLACE"),
    ],
)
def test_lines_that_name_no_document(
    egress: Egress, draft: Callable[[str], str], text: str, words: str
) -> None:
    answer = egress("policy", "check", draft(text), "--together")
    assert answer.exit_code == 2
    assert words in answer.stderr
    both = egress("policy", "check", draft(text), "--together", "--as", "/x")
    assert both.exit_code == 2
    assert "leave --as away" in both.stderr
