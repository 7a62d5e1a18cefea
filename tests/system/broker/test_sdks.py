"""Providers' official SDKs, unmodified, from hardened containers: they work, and no container sees a secret.

Every provider of the lab repeats the authority that it was sent: in a text, a field, an event, an error.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from appliance.verify.case import Output
from tests.lab import internet, providers
from tests.lab.accounts import KEY_ID
from tests.lab.bound import BOUND, UNBOUND, BoundWorld, records
from tests.lab.internet import Site

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
JOBS = Path(__file__).with_name("jobs")
BASE = "https://integrations.egress.internal"
REFERENCE = "agentsecrets://"
GREETING = "hello from the lab"
SCRUBBED = "[scrubbed:secret]"
REST = {"MONEY": f"{REFERENCE}money", "CODE": f"{REFERENCE}code", "TALK": f"{REFERENCE}talk"}
S3 = {"KEY": f"{REFERENCE}objects", "REGION": internet.REGION, "BUCKET": internet.BUCKET}
USUAL = {
    "openai": ("sdk_openai.py", {"KEY": f"{REFERENCE}chat"}),
    "openai-base": ("sdk_openai.py", {"KEY": f"{REFERENCE}chat", "BASE": f"{BASE}/openai/v1"}),
    "node": ("sdk_openai.js", {"KEY": f"{REFERENCE}chat"}),
    "node-base": ("sdk_openai.js", {"KEY": f"{REFERENCE}chat", "BASE": f"{BASE}/openai/v1"}),
    "anthropic": ("sdk_anthropic.py", {"KEY": f"{REFERENCE}thought"}),
    "anthropic-base": ("sdk_anthropic.py", {"KEY": f"{REFERENCE}thought", "BASE": f"{BASE}/anthropic"}),
    "rest": ("sdk_rest.py", REST),
    "s3": ("sdk_s3.py", S3),
}
REFLECT = """
import json, urllib.error, urllib.request
def told(path):
    try:
        with urllib.request.urlopen(f"https://reflector.example.com/{path}", timeout=20) as answer:
            return {"status": answer.status, "fields": dict(answer.headers), "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "fields": dict(error.headers), "body": error.read().decode()}
print(json.dumps({path: told(path) for path in PATHS}))
"""


@pytest.fixture(scope="module")
def ran(bound: BoundWorld) -> Callable[[str, str], Output]:
    """What a job said, which is run once: by its name and its tenant."""

    @cache
    def once(name: str, tenant: str) -> Output:
        job, environment = USUAL[name]
        return bound.job(JOBS / job, tenant=tenant, **environment)

    return once


def said(output: Output) -> Any:
    assert output.status == 0, output.text
    return json.loads(output.text)


def sees_no_secret(bound: BoundWorld, output: Output) -> None:
    for account in bound.accounts.values():
        assert account.secret not in output.text
        assert account.secret.encode().hex() not in output.text


def broker_connections(bound: BoundWorld) -> int:
    """Connections of gateway workers on which calls are handed over; they stay open for a while."""
    path = str(bound.world.settings.calls_socket)
    listing = ("ss", "-Hx", "state", "connected")  # it shows those of its network namespace
    here = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    return sum(path in line for line in (here + bound.world.in_gateway(*listing).text).splitlines())


def known(site: Site) -> list[dict[str, Any]]:
    """What the provider was asked by who had the real secret."""
    return [line for line in providers.seen(site) if line["known"]]


def calls() -> int:
    return sum(record["kind"] == "call" for record in records("broker"))


def test_000_03_what_needs_no_secret_opens_no_connection_to_the_broker(bound: BoundWorld) -> None:
    with bound.world.without("broker"):
        pass  # connections of calls before this one have ended with it
    before = calls()
    fetch = (
        "import urllib.request as u; print(u.urlopen('https://www.example.com/', timeout=20).read().decode())"
    )
    output = bound.script(fetch)
    assert output.status == 0, output.text
    assert "www.example.com" in output.text
    assert broker_connections(bound) == 0
    assert calls() == before
    said(bound.script(REFLECT.replace("PATHS", "['plain']")))
    assert broker_connections(bound) > 0  # it would have been seen
    assert calls() > before


@pytest.mark.parametrize("name", ["openai", "openai-base", "node", "node-base"])
def test_000_44_000_59_004_01_openai(bound: BoundWorld, ran: Callable[[str, str], Output], name: str) -> None:
    before = len(known(internet.OPENAI))
    output = ran(name, BOUND)
    answer = said(output)
    assert answer["chat"]["ok"] == f"{GREETING}; you are Bearer {SCRUBBED}"
    assert "".join(answer["streamed"]["ok"]) == f"{GREETING}; you are Bearer {SCRUBBED}"
    sees_no_secret(bound, output)
    asked = known(internet.OPENAI)[before:]
    assert len(asked) >= 2
    assert {line["authority"] for line in asked} == {f"Bearer {bound.secret('chat')}"}
    assert {line["fields"]["host"] for line in asked} == {internet.OPENAI.name}


@pytest.mark.parametrize("name", ["anthropic", "anthropic-base"])
def test_000_44_000_59_004_01_anthropic(
    bound: BoundWorld, ran: Callable[[str, str], Output], name: str
) -> None:
    output = ran(name, BOUND)
    answer = said(output)
    assert answer["message"]["ok"] == f"{GREETING}; you are {SCRUBBED}"
    assert "".join(answer["streamed"]["ok"]) == f"{GREETING}; you are {SCRUBBED}"
    sees_no_secret(bound, output)
    for line in known(internet.ANTHROPIC):
        assert line["authority"] == bound.secret("thought")
        assert "authorization" not in line["fields"]  # where this SDK put its placeholder


def test_000_44_004_01_stripe_github_and_slack(bound: BoundWorld, ran: Callable[[str, str], Output]) -> None:
    output = ran("rest", BOUND)
    answer = said(output)
    assert "a%40example.com" in answer["customer"]["ok"]
    assert answer["retrieved"]["ok"] == "cus_1"
    assert answer["user"]["ok"] == ["lab", f"Bearer {SCRUBBED}"]
    assert answer["issue"]["ok"] == 7
    assert answer["who"]["ok"]["team"] == f"Bearer {SCRUBBED}"
    assert answer["post"]["ok"]["ok"] is True
    sees_no_secret(bound, output)
    for site, account in ((internet.STRIPE, "money"), (internet.GITHUB, "code"), (internet.SLACK, "talk")):
        assert {line["authority"] for line in known(site)} == {f"Bearer {bound.secret(account)}"}


@pytest.mark.parametrize(
    ("name", "calls", "status", "code"),
    [
        ("openai", "forbidden", 403, "not for this project"),
        ("rest", "charges", None, "does not have access to charges"),
        ("rest", "organisation", None, "not accessible by integration"),
    ],
)
def test_002_10_a_providers_own_refusal_is_what_the_sdk_raises(
    ran: Callable[[str, str], Output], name: str, calls: str, status: int | None, code: str
) -> None:
    answer = said(ran(name, BOUND))[calls]
    assert code in answer["said"]
    assert answer.get("status") == status
    if name == "rest":
        assert answer["error"] in {"PermissionError", "GithubException"}


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_000_44_objects_are_put_and_got_with_a_signature_of_the_real_key(
    bound: BoundWorld, ran: Callable[[str, str], Output], style: str
) -> None:
    output = ran("s3", BOUND)
    answer = said(output)[style]
    assert answer["put"]["ok"]
    assert answer["put-small"]["ok"]
    assert answer["get"]["ok"] is True
    assert answer["head"]["ok"] == answer["size"]
    assert answer["download"]["ok"] is True
    assert answer["list"]["ok"] >= 1
    assert "NoSuchKey" in answer["missing"]["said"]
    assert "ok" not in answer["another"]  # a bucket that the account does not name
    sees_no_secret(bound, output)
    asked = providers.seen(internet.S3 if style == "path" else internet.S3_BUCKET)
    assert asked
    assert all(line["known"] for line in asked)
    assert all(f"Credential={KEY_ID}/" in line["authority"] for line in asked)
    assert not any(REFERENCE in json.dumps(line) for line in asked)


@pytest.mark.parametrize(("repository", "size"), [("demo", "1000"), ("second", "3000000")])
def test_000_44_git_pushes_and_clones(bound: BoundWorld, repository: str, size: str) -> None:
    output = bound.job(JOBS / "git.sh", repository, size)
    assert (output.status, output.text) == (0, "hello from the container\n")
    paths = {line["target"].partition("?")[0] for line in known(internet.GITHUB_GIT)}
    assert {f"/lab/{repository}.git/git-receive-pack", f"/lab/{repository}.git/git-upload-pack"} <= paths


@pytest.mark.parametrize("name", sorted(USUAL))
def test_000_44_a_tenant_without_the_account_gets_nothing(
    bound: BoundWorld, ran: Callable[[str, str], Output], name: str
) -> None:
    before = {site: len(providers.seen(site)) for site in internet.PROVIDERS}
    output = ran(name, UNBOUND)
    assert GREETING not in output.text
    assert '"ok"' not in output.text
    sees_no_secret(bound, output)
    assert {site: len(providers.seen(site)) for site in internet.PROVIDERS} == before


def test_000_44_git_of_a_tenant_without_the_account_gets_nothing(bound: BoundWorld) -> None:
    before = len(providers.seen(internet.GITHUB_GIT))
    output = bound.job(JOBS / "git.sh", "demo", "10", tenant=UNBOUND)
    assert output.status not in {0, None}
    assert len(providers.seen(internet.GITHUB_GIT)) == before


def test_004_01_whatever_way_a_provider_repeats_a_secret(bound: BoundWorld) -> None:
    paths = ["header", "plain", "gzip", "split", "bytes", "sse", "error", "forbidden", "redirect", "forms"]
    output = bound.script(REFLECT.replace("PATHS", repr(paths)))
    answer = said(output)
    secret = bound.secret("mirror")
    sees_no_secret(bound, output)
    for path in ("plain", "gzip", "split", "bytes"):
        assert answer[path]["body"] == f"{GREETING}; you are Bearer {SCRUBBED}\n"
    assert SCRUBBED in answer["header"]["fields"]["X-You-Are"]
    assert "[DONE]" in answer["sse"]["body"]
    assert (answer["error"]["status"], answer["forbidden"]["status"]) == (500, 403)
    assert "policy-7" in answer["forbidden"]["body"]
    forms = json.loads(answer["forms"]["body"])
    assert forms.pop("reversed") == secret[::-1]  # what no search can know of
    assert all(SCRUBBED in text for text in forms.values()), forms


def test_000_63_one_request_id_in_the_answer_and_in_both_records(bound: BoundWorld) -> None:
    fields = said(bound.script(REFLECT.replace("PATHS", "['plain']")))["plain"]["fields"]
    identity = fields["X-Egress-Request-Id"]
    of_gateway = [r for r in records("gateway") if r.get("request_id") == identity]
    of_broker = [r for r in records("broker") if r.get("request_id") == identity]
    assert [r["kind"] for r in of_gateway] == ["request"]
    assert [r["kind"] for r in of_broker] == ["call"]
    assert of_gateway[0]["host"] == of_broker[0]["host"] == internet.REFLECTOR.name
    assert of_gateway[0]["container"] == of_broker[0]["container"]
