"""Accounts become rules above every other, and a secret's way is never a matter of chance."""

from __future__ import annotations

import pytest

from appliance.policy.hosts import HostPattern
from appliance.policy.slot import Slot
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.policy.verdict import Reason
from tests.unit.policy.bindings import CRM, account_faults, accounts, bound_policy
from tests.unit.policy.written import request

ONE = "accounts: [{name: crm-acme, integration: crm, tenants: [acme]}]"
JSON = {"content_type": "application/json", "content_length": 10}


def judged(policy: TenantPolicy, url: str, method: str = "GET", **more: object) -> tuple[str, str | None]:
    verdict = policy.judge(request(url, method, **more))
    assert (verdict.account is not None) <= verdict.allowed
    return str(verdict.reason), verdict.account


def test_an_account_by_itself() -> None:
    account = bound_policy(ONE).account("crm-acme")
    assert account is not None
    assert (account.integration, account.title, account.secret, account.port) == (
        "crm",
        "CRM",
        "crm-acme",
        443,
    )
    assert account.hosts == (HostPattern("api.crm.example"),)
    assert account.kinds == {"static"}
    assert account.groups["send"].slot == Slot(style="bearer")
    assert account.groups["send"].risk == "write"
    assert (account.base_url, account.reference_scheme) == (None, None)
    assert bound_policy(ONE, tenant="other").account("crm-acme") is None


@pytest.mark.parametrize(
    ("url", "method", "more", "reason"),
    [
        ("https://api.crm.example/data/1", "GET", {}, "allowed-by-integration"),
        ("https://api.crm.example/data/1?page=2", "GET", {}, "allowed-by-integration"),
        ("https://api.crm.example/data/1?ids[]=2&ids[]=3", "GET", {}, "allowed-by-integration"),
        ("https://api.crm.example/mail", "POST", JSON, "allowed-by-integration"),
        # 000-20, 000-42: no group
        ("https://api.crm.example/other", "GET", {}, "path-not-allowed"),
        ("https://api.crm.example/data/1/2", "GET", {}, "path-not-allowed"),
        ("https://api.crm.example/data/1", "HEAD", {}, "method-not-allowed"),
        ("https://api.crm.example/data/1", "PATCH", JSON, "method-not-allowed"),  # 004-33
        ("https://api.crm.example/data/1", "POST", JSON, "path-not-allowed"),
        ("https://api.crm.example/data/1", "QUERY", {}, "method-unknown"),
        ("https://api.crm.example/data/1", "TRACE", {}, "method-not-allowed"),
        # 000-52
        ("https://api.crm.example/data/1?other=1", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?page=1&page=2", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?page=1&pag%65=2", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?page=1;other=1", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?page=1;page=2", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?ids[]=1&ids[]=2;page=1&page=2", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?Page=1", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/data/1?page%20=1", "GET", {}, "query-not-allowed"),
        ("https://api.crm.example/mail?page=1", "POST", JSON, "query-not-allowed"),
        # 000-53
        ("https://api.crm.example/mail", "POST", {"content_length": 10}, "content-type-not-allowed"),
        ("https://api.crm.example/mail", "POST", {**JSON, "content_type": "text/plain"}, "content-type-not-allowed"),
        ("https://api.crm.example/mail", "POST", {**JSON, "content_type": "application/json; x"},
         "content-type-not-allowed"),
        ("https://api.crm.example/mail", "POST", {**JSON, "content_type": "application/json, text/plain"},
         "content-type-not-allowed"),
        # 000-54
        ("https://api.crm.example/mail", "POST", {**JSON, "content_length": 1024}, "allowed-by-integration"),
        ("https://api.crm.example/mail", "POST", {**JSON, "content_length": 1025}, "body-too-large"),
        # an upgrade is nobody's
        ("https://api.crm.example/data/1", "GET", {"upgrade": "websocket"}, "upgrade-not-allowed"),
        # other services of the host are the profile's, and carry nothing
        ("http://api.crm.example/data/1", "GET", {}, "allowed-by-profile"),
        ("https://api.crm.example:8443/data/1", "GET", {}, "port-not-allowed"),
        ("http://api.crm.example/mail", "POST", JSON, "method-not-allowed"),
    ],
)  # fmt: skip
def test_000_20_000_42_000_52_000_53_000_54_004_33_a_request_fits_a_group_or_is_denied(
    url: str, method: str, more: dict[str, object], reason: str
) -> None:
    for profile in Profile:
        found, account = judged(bound_policy(ONE, profile=profile), url, method, **more)
        if profile is Profile.READ_ONLY_WEB:
            assert found == reason
        assert account == ("crm-acme" if reason == "allowed-by-integration" else None)


def test_000_54_a_chunked_body_may_be_as_long_as_the_group_says() -> None:
    verdict = bound_policy(ONE).judge(
        request("https://api.crm.example/mail", "POST", content_type="application/json", chunked=True)
    )
    assert (verdict.allowed, verdict.max_body) == (True, 1024)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_004_20_004_21_state_is_changed_at_the_hosts_of_bound_accounts_alone(method: str) -> None:
    other = CRM.replace("name: crm", "name: erp").replace("crm.example", "erp.example")
    policy = bound_policy(ONE, own={"crm": CRM, "erp": other})
    for url in (
        "https://api.erp.example/mail",
        "https://www.example.com/mail",
        "http://api.crm.example/mail",
    ):
        assert judged(policy, url, method, **JSON) == ("method-not-allowed", None)
    assert judged(policy, "https://api.crm.example/mail", "POST", **JSON)[1] == "crm-acme"


def test_operator_denials_win() -> None:
    for deny in (
        "hosts: [api.crm.example]",
        "hosts: ['*.crm.example']",
        "hosts: [api.crm.example], paths: [/data/**]",
    ):
        policy = bound_policy(ONE, operator=f"deny: [{{{deny}}}]")
        assert judged(policy, "https://api.crm.example/data/1")[0] in {
            "host-denied-by-operator", "request-denied-by-operator",
        }  # fmt: skip


def test_another_allow_rule_for_the_host_opens_nothing() -> None:
    policy = bound_policy(
        ONE, operator="allow: [{hosts: [api.crm.example], methods: [GET, DELETE], query: any}]"
    )
    assert judged(policy, "https://api.crm.example/other") == ("path-not-allowed", None)
    assert judged(policy, "https://api.crm.example/data/1", "DELETE") == ("method-not-allowed", None)
    assert judged(policy, "https://api.crm.example/data/1") == ("allowed-by-integration", "crm-acme")


def test_only_the_groups_that_the_account_names() -> None:
    policy = bound_policy(
        "accounts: [{name: a, integration: crm, tenants: [acme], groups: [read], secret: shared}]"
    )
    account = policy.account("a")
    assert account is not None
    assert (list(account.groups), account.secret) == (["read"], "shared")
    assert judged(policy, "https://api.crm.example/mail", "POST", **JSON) == ("method-not-allowed", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("accounts: [{name: a, integration: cmr, tenants: [acme]}]", ["no integration 'cmr'", "did you mean 'crm'?"]),
        ("accounts: [{name: a, integration: crm, tenants: [acme], groups: [raed]}]", ["no group 'raed'", "'read'?"]),
        ("accounts: [{name: a, integration: crm, tenants: [acme], host: b.example.com}]", ["below no wildcard"]),
        ("accounts: [{name: a, integration: crm, tenants: [acme], parameters: {x: y}}]", ["no parameter 'x'"]),
        ("accounts: [{name: a, integration: crm, tenants: [acme]}, {name: a, integration: crm, tenants: [b]}]",
         ["name 'a' is taken by accounts[0]"]),
        ("", ["the document is empty"]),
        ("[]", ["the document is empty"]),
        ("accounts: []", ["accounts is empty"]),
        ("acounts: []", ["unknown key 'acounts'", "did you mean 'accounts'?"]),
        ("accounts: [{name: a, integration: rest, tenants: [acme]}]", ["rest asks for the host"]),
        ("accounts: [{name: a, integration: rest, tenants: [acme], host: 192.0.2.1}]", ["is an address"]),
        ("accounts: [{name: a, integration: aws, tenants: [acme]}]", ["parameter 'region' of aws is missing"]),
        ("accounts: [{name: a, integration: aws, tenants: [acme], groups: [call], parameters: {region: eu-west-1}}]",
         ["group 'call' has nothing without its parameters", "service"]),
        ("accounts: [{name: a, integration: aws, tenants: [acme], parameters: {region: eu.evil}}]", ["has no dot"]),
        ("accounts: [{name: a, integration: aws, tenants: [acme], parameters: {region: r, service: [sqs, STS]}}]",
         ["parameter 'service' of aws is never 'sts'"]),
    ],
)  # fmt: skip
def test_accounts_that_cannot_be(text: str, words: list[str]) -> None:
    (line,) = account_faults(text)
    assert line.startswith("accounts.yaml:1:")
    for word in words:
        assert word in line


def test_no_accounts_can_be_said_in_so_many_words() -> None:
    layer, problems = accounts("{}")
    assert layer is not None
    assert (dict(layer.tenants), problems) == ({}, [])


def test_000_42_two_accounts_for_the_same_request_are_an_error_that_says_so() -> None:
    text = """
        accounts:
          - {name: one, integration: crm, tenants: [acme, other]}
          - {name: two, integration: crm, tenants: [acme], groups: [read]}
        """
    (line,) = account_faults(text)
    assert line == (
        "accounts.yaml:4:5: for tenant acme, 'two' (group read) and 'one' (group read) allow the same requests to "
        "api.crm.example; restrict one of them by groups, or bind it to other tenants"
    )


def test_000_42_accounts_of_two_tenants_or_of_groups_apart_live_side_by_side() -> None:
    policy = bound_policy(
        "accounts:\n"
        "  - {name: reader, integration: crm, tenants: [acme], groups: [read]}\n"
        "  - {name: sender, integration: crm, tenants: [acme], groups: [send]}\n"
        "  - {name: both, integration: crm, tenants: [other]}\n"
    )
    assert judged(policy, "https://api.crm.example/data/1")[1] == "reader"
    assert judged(policy, "https://api.crm.example/mail", "POST", **JSON)[1] == "sender"
    assert policy.account("both") is None


def test_000_42_of_two_groups_the_first_that_is_written_wins_every_time() -> None:
    narrow = "  - {name: one, risk: read, methods: [GET], paths: [/data/one, /x], query: [page]}\n"
    policy = bound_policy(ONE, own={"crm": CRM.replace("groups:\n", "groups:\n" + narrow)})
    for _ in range(3):
        assert policy.judge(request("https://api.crm.example/data/one")).group == "one"
        assert policy.judge(request("https://api.crm.example/data/one?page=1")).group == "one"
        assert policy.judge(request("https://api.crm.example/data/one?ids[]=1")).group == "read"
        assert policy.judge(request("https://api.crm.example/data/two")).group == "read"


def test_a_passthrough_on_an_accounts_host_is_an_error() -> None:
    (line,) = account_faults(ONE, operator="passthrough: [{hosts: [api.crm.example]}]")
    assert "passthrough[0] lets TLS to api.crm.example through unread for tenant acme" in line
    for harmless in (
        "{hosts: [api.crm.example], tenants: [other]}",
        "{hosts: [api.crm.example], ports: [8443]}",
    ):
        assert accounts(ONE, operator=f"passthrough: [{harmless}]")[0] is not None


WILD = CRM.replace("api.crm.example", '"*.salesforce.com"')


def test_004_18_state_is_changed_at_exact_hosts_alone() -> None:
    (line,) = account_faults(ONE, own={"crm": WILD})
    assert "group 'send' allows POST, and *.salesforce.com is no exact host" in line
    assert "host: <name>.salesforce.com" in line
    reading = "accounts: [{name: a, integration: crm, tenants: [acme], groups: [read]}]"
    assert judged(bound_policy(reading, own={"crm": WILD}), "https://x.my.salesforce.com/data/1")[1] == "a"
    exact = "accounts: [{name: a, integration: crm, tenants: [acme], host: acme.my.salesforce.com}]"
    policy = bound_policy(exact, own={"crm": WILD})
    assert judged(policy, "https://acme.my.salesforce.com/mail", "POST", **JSON)[1] == "a"
    assert judged(policy, "https://other.my.salesforce.com/mail", "POST", **JSON) == (
        "method-not-allowed",
        None,
    )


@pytest.mark.parametrize("name", ["salesforce.com", "salesforce.com.evil.example", "evilsalesforce.com"])
def test_004_18_a_lookalike_is_no_host_of_the_definition(name: str) -> None:
    text = f"accounts: [{{name: a, integration: crm, tenants: [acme], host: {name}}}]"
    (line,) = account_faults(text, own={"crm": WILD})
    assert f"{name} is below no wildcard of crm" in line
    reading = "accounts: [{name: a, integration: crm, tenants: [acme], groups: [read]}]"
    policy = bound_policy(reading, own={"crm": WILD})
    assert judged(policy, f"https://{name}/data/1") == ("allowed-by-profile", None)


def test_the_account_completes_what_the_definition_asks() -> None:
    policy = bound_policy("accounts: [{name: a, integration: rest, tenants: [acme], host: api.example.com}]")
    assert judged(policy, "https://api.example.com/v1/things?limit=3") == ("allowed-by-integration", "a")
    account = policy.account("a")
    assert account is not None
    assert account.reference_scheme == "agentsecrets"


def test_two_hosts_under_one_prefix_of_base_url_mode_are_an_error() -> None:
    text = """
        accounts:
          - {name: one, integration: openai-compatible, tenants: [acme], host: a.example.com}
          - {name: two, integration: openai-compatible, tenants: [acme], host: b.example.com}
        """
    (line,) = account_faults(text)
    assert "'two' and 'one' are both /openai-compatible/… of base-URL mode" in line


def test_base_url_mode_leads_to_the_first_host_if_the_account_has_it() -> None:
    def base(groups: str) -> tuple[str | None, str | None]:
        text = f"accounts: [{{name: a, integration: github, tenants: [acme], groups: [{groups}]}}]"
        account = bound_policy(text).account("a")
        assert account is not None
        return account.base_url, account.base_host

    assert base("read") == ("github", "api.github.com")
    assert base("git-fetch, git-refs") == (None, None)


def test_a_place_of_authority_is_one_in_every_group() -> None:
    account = bound_policy("accounts: [{name: a, integration: gitlab, tenants: [acme]}]").account("a")
    assert account is not None
    usual, other = account.groups["read"].slot, account.groups["graphql"].slot
    assert (usual.name, other.style) == ("private-token", "bearer")
    assert set(other.authority_fields or ()) == {"job-token", "deploy-token", "private-token"}
    assert "private-token" not in (usual.authority_fields or ())
    assert account.groups["git-fetch"].slot.authority_query == usual.authority_query


def test_parameters_name_the_only_buckets() -> None:
    policy = bound_policy(
        "accounts: [{name: s3, integration: aws, tenants: [acme], parameters: {region: eu-west-1, bucket: [ours, logs]}}]"
    )
    for url in (
        "https://ours.s3.eu-west-1.amazonaws.com/a/b",
        "https://logs.s3.amazonaws.com/a",
        "https://s3.eu-west-1.amazonaws.com/ours/a/b?versionId=1",
        "https://s3.eu-west-1.amazonaws.com/ours?list-type=2&prefix=a",
    ):
        assert judged(policy, url) == ("allowed-by-integration", "s3"), url
    put = {"content_length": 10}  # boto3 sends no Content-Type with an object
    assert judged(policy, "https://ours.s3.eu-west-1.amazonaws.com/a", "PUT", **put)[1] == "s3"
    for url, reason in (
        ("https://s3.eu-west-1.amazonaws.com/theirs/a", "path-not-allowed"),
        ("https://theirs.s3.eu-west-1.amazonaws.com/a", "allowed-by-profile"),
        ("https://ours.s3.eu-west-1.amazonaws.com/a?X-Amz-Signature=1", "query-not-allowed"),
    ):
        assert judged(policy, url) == (reason, None), url
    assert (
        judged(policy, "https://theirs.s3.eu-west-1.amazonaws.com/a", "PUT", **put)[0] == "method-not-allowed"
    )
    assert judged(policy, "https://ours.s3.eu-west-1.amazonaws.com/", "PUT", **put)[1] is None


def test_two_accounts_share_a_host_where_their_buckets_differ() -> None:
    one = "{name: a, integration: aws, tenants: [acme], groups: [s3-read], parameters: {region: eu-west-1, bucket: a1}}"
    two = one.replace("name: a,", "name: b,").replace("bucket: a1", "bucket: b1")
    policy = bound_policy(f"accounts: [{one}, {two}]")
    assert judged(policy, "https://s3.eu-west-1.amazonaws.com/a1/x")[1] == "a"
    assert judged(policy, "https://s3.eu-west-1.amazonaws.com/b1/x")[1] == "b"


def test_a_tenant_has_no_more_accounts_than_can_be_compared() -> None:
    def bound(number: int) -> str:
        each = "{{name: a{0}, integration: aws, tenants: [acme], groups: [s3-read], parameters: {1}}}"
        return ", ".join(each.format(n, f"{{region: eu-west-1, bucket: b{n}}}") for n in range(number))

    assert accounts(f"accounts: [{bound(64)}]")[0] is not None
    (line,) = account_faults(f"accounts: [{bound(65)}]")
    assert "tenant acme has more than 64 accounts" in line


def test_lists_of_parameters_do_not_multiply_without_end() -> None:
    many = ", ".join(f"v{n}" for n in range(64))
    lines = account_faults(
        f"accounts: [{{name: a, integration: aws, tenants: [acme], parameters: {{region: [{many}], bucket: [{many}]}}}}]"
    )
    assert all("more than 256 hosts or paths" in line for line in lines)


def test_the_digest_is_of_all_that_went_in() -> None:
    digests = {
        layer.digest
        for own in ({"crm": CRM}, {"crm": CRM.replace("1KiB", "2KiB")})
        if (layer := accounts(ONE, own)[0]) is not None
    }
    assert len(digests) == 2


def test_a_group_that_asks_for_more_is_told_by_the_nearest_reason() -> None:
    verdict = bound_policy(ONE).judge(request("https://api.crm.example/mail", "POST", content_length=3))
    assert verdict.reason is Reason.CONTENT_TYPE_NOT_ALLOWED
    assert verdict.rule == "accounts.yaml:1 accounts[0] 'crm-acme' group 'send'"
    assert "integration account" in verdict.mend
