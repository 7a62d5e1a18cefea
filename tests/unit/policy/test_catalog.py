"""The definitions that come with the appliance allow what official clients ask, and no name is taken twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.policy.catalog import SHIPPED, Catalog, load_own, shipped_names
from appliance.policy.files import Readings
from appliance.policy.tenant import TenantPolicy
from appliance.stepwise import finish
from tests.unit.policy.bindings import CRM, bound_policy
from tests.unit.policy.written import request

ROOT = Path(__file__).resolve().parents[3]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CALLS = [
    "",
    "openai POST /v1/chat/completions application/json chat",
    "openai POST /v1/responses application/json responses",
    "openai GET /v1/responses/resp_1 - stored",
    "openai POST /v1/embeddings application/json embeddings",
    "openai GET /v1/models - models",
    "openai GET /v1/models/gpt-4o - models",
    "openai POST /v1/files multipart/form-data;boundary=x files",
    "openai GET /v1/files/file-1/content - stored",
    "openai DELETE /v1/files/file-1 - delete",
    "openai POST /v1/audio/transcriptions multipart/form-data;boundary=x transcriptions",
    "openai POST /v1/images/generations application/json images",
    "openai GET /v1/vector_stores/vs_1/files?limit=5 - stored",
    "openai POST /v1/organization/admin_api_keys application/json -",
    "openai GET /v1/chat/completions?api_key=x - -",
    "openai PATCH /v1/models/gpt-4o application/json -",
    "anthropic POST /v1/messages application/json messages",
    "anthropic POST /v1/messages?beta=true application/json messages",
    "anthropic POST /v1/messages/count_tokens application/json count-tokens",
    "anthropic GET /v1/models?limit=20 - models",
    "anthropic POST /v1/messages/batches application/json batches",
    "anthropic GET /v1/messages/batches/b1/results - stored",
    "anthropic GET /v1/organizations/api_keys - -",
    "anthropic POST /v1/messages text/plain -",
    "slack POST /api/chat.postMessage application/json;charset=utf-8 post",
    "slack POST /api/auth.test application/x-www-form-urlencoded read",
    "slack GET /api/conversations.list?limit=5&cursor=x - read",
    "slack POST /api/files.delete application/x-www-form-urlencoded delete",
    "slack POST /api/admin.users.invite application/x-www-form-urlencoded other",
    "slack GET /api/users.list?token=xoxb-1 - -",
    "slack GET /signin - -",
    "stripe GET /v1/customers?limit=3&expand[0]=data - read",
    "stripe GET /v1/customers/cus_1 - read",
    "stripe POST /v1/payment_intents application/x-www-form-urlencoded write",
    "stripe POST /v1/payouts application/x-www-form-urlencoded payouts",
    "stripe DELETE /v1/customers/cus_1 - delete",
    "stripe POST /v1/accounts application/x-www-form-urlencoded -",
    "stripe POST /v1/charges application/json -",
    "github GET /user - read",
    "github GET /repos/a/b/issues?state=open&per_page=30&page=2 - read",
    "github GET /repos/a/b/contents/src/x.py?ref=main - read",
    "github POST /repos/a/b/issues application/json write",
    "github PATCH /repos/a/b/issues/1 application/json write",
    "github PUT /repos/a/b/pulls/1/merge application/json write",
    "github POST /graphql application/json graphql",
    "github DELETE /repos/a/b/git/refs/heads/x - delete",
    "github DELETE /repos/a/b - -",
    "github PUT /repos/a/b/collaborators/eve application/json -",
    "github POST /repos/a/b/hooks application/json -",
    "github POST /user/keys application/json -",
    "github GET /user?access_token=x - -",
    "gitlab GET /api/v4/projects/7 - read",
    "gitlab GET /api/v4/projects/g%2Ft/repository/files/a%2Fb.py/raw?ref=main - read",
    "gitlab GET /api/v4/projects/7/pipelines/1/jobs - read",
    "gitlab GET /api/v4/projects/7/jobs/1/trace - read",
    "gitlab GET /api/v4/groups/7/projects?per_page=5 - read",
    "gitlab GET /api/v4/projects/7/variables - ci-secrets",
    "gitlab GET /api/v4/groups/7/variables/KEY - ci-secrets",
    "gitlab GET /api/v4/projects/7/pipelines/1/variables - ci-secrets",
    "gitlab GET /api/v4/projects/7/pipeline_schedules/1 - ci-secrets",
    "gitlab GET /api/v4/projects/7/secure_files/1/download - ci-secrets",
    "gitlab GET /api/v4/projects/7/access_tokens - -",
    "gitlab GET /api/v4/projects/7/hooks - -",
    "",
]
HOSTS = {
    "openai": "api.openai.com", "anthropic": "api.anthropic.com", "slack": "slack.com", "stripe": "api.stripe.com",
    "github": "api.github.com", "gitlab": "gitlab.com",
}  # fmt: skip


@pytest.fixture(scope="module")
def policy() -> TenantPolicy:
    every = ", ".join(f"{{name: {name}, integration: {name}, tenants: [acme]}}" for name in HOSTS)
    return bound_policy(f"accounts: [{every}]")


@pytest.mark.parametrize("call", [line for line in CALLS if line])
def test_a_call_of_an_official_client_fits_its_group(policy: TenantPolicy, call: str) -> None:
    name, method, path, content_type, group = call.split(" ")
    body = {} if content_type == "-" else {"content_type": content_type, "content_length": 10}
    verdict = policy.judge(request(f"https://{HOSTS[name]}{path}", method, **body))
    expected = (None, None) if group == "-" else (name, group)
    assert (verdict.account, verdict.group) == expected, verdict
    assert verdict.allowed is (group != "-")


@pytest.mark.parametrize(
    ("call", "group"),
    [
        ("GET /storage/v1/b/ours/o/a%2Fb?alt=media", "storage-read"),
        ("POST /upload/storage/v1/b/ours/o?uploadType=media&name=a", "storage-write"),
        ("PUT /upload/storage/v1/b/ours/o?uploadType=resumable&upload_id=x", "storage-write"),
        ("POST /storage/v1/b/ours/o/a%2Fb/compose", "storage-write"),
        ("POST /storage/v1/b/ours/o/a/moveTo/o/b", "storage-write"),
        ("PATCH /storage/v1/b/ours/o/a%2Fb", "storage-update"),
        ("DELETE /storage/v1/b/ours/o/a%2Fb", "storage-delete"),
        ("DELETE /storage/v1/b/ours/o/a/acl/allUsers", None),
        ("POST /upload/storage/v1/b/ours/o?uploadType=media&name=a&predefinedAcl=publicRead", None),
        ("GET /storage/v1/b/theirs/o/a", None),
        ("POST /upload/storage/v1/b/theirs/o?uploadType=media&name=a", None),
        ("POST /storage/v1/b/ours/o/a/rewriteTo/b/theirs/o/b", None),
        ("POST /storage/v1/b/ours/o/a/copyTo/b/theirs/o/b", None),
        ("PUT /storage/v1/b/ours/o/a/rewriteTo/b/theirs/o/b", None),
        ("POST /storage/v1/b/ours/o/watch", None),
        ("POST /storage/v1/b/ours/o/a/acl", None),
        ("PATCH /storage/v1/b/ours", None),
    ],
)
def test_of_cloud_storage_an_account_reaches_its_buckets_alone(call: str, group: str | None) -> None:
    policy = bound_policy(
        "accounts: [{name: gcs, integration: gcp, tenants: [acme], parameters: {bucket: ours}}]"
    )
    method, _, path = call.partition(" ")
    body = {} if method in ("GET", "DELETE") else {"content_type": JSON, "content_length": 10}
    facts = request(f"https://storage.googleapis.com{path}", method, **body)
    assert policy.judge(facts).group == group


@pytest.mark.parametrize(
    ("host", "path"), [("github.com", "/acme/tool.git"), ("gitlab.com", "/group/sub/tool.git")]
)
def test_git_over_https_goes_with_a_password_made_of_the_token(
    policy: TenantPolicy, host: str, path: str
) -> None:
    name = host.partition(".")[0]
    account = policy.account(name)
    assert account is not None
    for service, group, method in (
        ("upload", "git-fetch", "POST"), ("receive", "git-push", "POST"), (None, "git-refs", "GET"),
    ):  # fmt: skip
        rest = "/info/refs?service=git-receive-pack" if service is None else f"/git-{service}-pack"
        body = (
            {"content_type": f"application/x-git-{service}-pack-request", "chunked": True} if service else {}
        )
        verdict = policy.judge(request(f"https://{host}{path}{rest}", method, **body))
        assert (verdict.account, verdict.group) == (name, group), verdict
        slot = account.groups[group].slot
        assert (slot.style, (slot.template or "").endswith(":{}")) == ("basic", True)
    assert not policy.judge(request(f"https://{host}/login")).allowed


def test_slack_has_a_host_for_files(policy: TenantPolicy) -> None:
    asked = policy.judge(request("https://files.slack.com/files-pri/T1-F1/x.txt"))
    assert (asked.account, asked.group) == ("slack", "download")
    assert policy.judge(request("https://www.slack.com/api/users.list")).group == "read"
    assert not policy.judge(request("https://files.slack.com/api/users.list")).allowed


def test_gitlab_projects_are_named_with_an_encoded_slash(policy: TenantPolicy) -> None:
    verdict = policy.judge(request("https://gitlab.com/api/v4/projects/group%2Ftool/issues?state=opened"))
    assert (verdict.account, verdict.group) == ("gitlab", "read")


def test_every_definition_that_comes_along_is_without_fault() -> None:
    catalog = Catalog()
    assert {"github", "gitlab", "stripe", "slack", "openai", "anthropic", "aws", "gcp", "rest"} <= set(
        catalog
    )
    for name in catalog:
        found = catalog[name]
        assert found is not None, name
        document = found.document
        assert (document.scheme, document.port) == ("https", 443)
        assert all("*" not in host for host in document.hosts or ()), name  # none needs a wildcard
        assert {group.risk for group in document.groups} <= {"read", "write", "destructive"}
        assert not catalog.is_own(name)


def test_definitions_are_files_of_the_package() -> None:
    """What is in `appliance/` is in the wheel: hatchling takes the folder as it is."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'\[tool\.hatch\.build\.targets\.wheel\]\npackages = \["appliance"', text)
    left_out = re.findall(r"^(?:exclude|only-include).*", text, re.MULTILINE)
    assert not [line for line in left_out if "integrations" in line or "/appliance/cli/build_id" not in line]
    assert SHIPPED.relative_to(ROOT).parts[0] == "appliance"


def test_there_is_no_other() -> None:
    with pytest.raises(KeyError):
        Catalog()["nothing"]
    assert "nothing" not in Catalog()


def test_the_operators_own_are_read_beside_them(tmp_path: Path) -> None:
    (tmp_path / "crm.yaml").write_text(CRM)
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    catalog, digest, problems = finish(load_own(tmp_path, Readings()))
    assert catalog["crm"] is not None
    assert (catalog.is_own("crm"), catalog["bad"]) == (True, None)
    assert all(problem.position.file.endswith("bad.yaml") for problem in problems)
    assert set(catalog) == shipped_names() | {"crm", "bad"}
    assert len(catalog) == len(shipped_names()) + 2
    (tmp_path / "crm.yaml").write_text(CRM.replace("1KiB", "2KiB"))
    assert finish(load_own(tmp_path, Readings()))[1] != digest


def test_the_name_of_one_that_comes_along_is_taken(tmp_path: Path) -> None:
    (tmp_path / "github.yaml").write_text(CRM.replace("name: crm", "name: github"))
    catalog, _, (problem,) = finish(load_own(tmp_path, Readings()))
    assert "a definition 'github' comes with the appliance" in str(problem)
    found = catalog["github"]
    assert found is not None
    assert found.document.title == "GitHub"
    assert not catalog.is_own("github")


def test_gitlab_of_ones_own_has_the_groups_of_gitlab() -> None:
    here, there = Catalog()["gitlab"], Catalog()["gitlab-self-managed"]
    assert here is not None
    assert there is not None
    assert here.document.groups == there.document.groups
