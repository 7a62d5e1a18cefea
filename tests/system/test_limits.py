"""One tenant floods, another works (F4): the one gets typed 429 with Retry-After, the other all of its answers.

How long the other waits meanwhile is measured by `tests/bench/fairness.py`; here only that nothing is lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.verify.case import Image
from tests.lab import internet
from tests.lab.appliance import DIRECTORIES, Appliance
from tests.lab.containers import IMAGES, logs_of, start_hardened
from tests.lab.internet import WWW
from tests.lab.lab import Lab
from tests.lab.namespaces import run

pytestmark = pytest.mark.system

LAB = Path(__file__).parents[1] / "lab"
FLOODING, WORKING = "lab-flood", "lab-acme"
POLICY = """
profile: read-only-web
limits:
  container:
    connections: 20
    requests_per_second: 15
    bytes_out: 80KiB
  queries_per_second: 20
"""
KINDS = ("requests", "connections", "dns", "bytes")
EACH_SECONDS = 4
REQUESTS = 120
REFUSALS = 50  # a second: as many as a container may ask (`resolver.queries_per_second`)


@pytest.fixture(scope="module")
def flooding_tenant(appliance: Appliance) -> Iterator[None]:
    draft = internet.RUNTIME / f"{FLOODING}.yaml"
    draft.write_text(POLICY)
    assert "ok" in appliance.egress("policy", "check", str(draft)).stdout
    appliance.egress("tenant", "add", FLOODING, "--policy", str(draft))
    yield
    appliance.egress("tenant", "rm", FLOODING, check=False)


@pytest.fixture(scope="module")
def outcome(lab: Lab, appliance: Appliance, flooding_tenant: None) -> dict[str, Any]:
    """Both at once: what each of them saw, what `egress top` showed meanwhile, and what is on record."""
    python = ("python3", "-c")
    before = json.loads(appliance.egress("--json", "top", "--once").stdout)
    flooder = start_hardened(
        FLOODING,
        IMAGES[Image.PYTHON],
        (*python, (LAB / "flood.py").read_text(), WWW.name, str(EACH_SECONDS), *KINDS),
    )
    worker = start_hardened(
        WORKING,
        IMAGES[Image.PYTHON],
        (*python, (LAB / "steady.py").read_text(), WWW.name, str(REQUESTS), "0.1"),
    )
    time.sleep(3)
    top = json.loads(appliance.egress("--json", "top", "--once").stdout)
    for container in (flooder, worker):
        run("docker", "wait", container, timeout=90)
    floods = {line["kind"]: line for line in map(json.loads, logs_of(flooder).splitlines())}
    steady = json.loads(logs_of(worker).splitlines()[-1])
    after = json.loads(appliance.egress("--json", "top", "--once").stdout)
    run("docker", "rm", "-f", flooder, worker, check=False)
    return {
        "floods": floods,
        "steady": steady,
        "before": before,
        "top": top,
        "after": after,
        "flooder": flooder,
    }


@pytest.fixture(scope="module")
def lab(closed_lab: Lab, appliance: Appliance) -> Lab:
    return closed_lab


def records(container: str) -> list[dict[str, Any]]:
    return [
        record
        for file in (DIRECTORIES["log_dir"] / "audit").rglob("*.jsonl")
        for line in file.read_bytes().split(b"\n")
        if line.strip(b"\0") and (record := json.loads(line)).get("container") == container
    ]


def test_the_other_tenant_gets_every_answer(outcome: dict[str, Any]) -> None:
    assert outcome["steady"]["statuses"] == {"200": REQUESTS}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("requests", "requests-per-second-exceeded"),
        ("connections", "connections-exceeded"),
        ("bytes", "bytes-out-exceeded"),
    ],
)
def test_the_flooder_gets_typed_429_with_retry_after_and_a_record(
    outcome: dict[str, Any], kind: str, reason: str
) -> None:
    flood = outcome["floods"][kind]
    assert flood["statuses"].get("429", 0) > 0, flood
    assert reason in flood["reasons"]
    assert flood["waits"]
    assert flood["waits"][0] >= 1
    written = [r for r in records(outcome["flooder"]) if r["reason"] == reason]
    assert written
    assert {r["outcome"] for r in written} == {"denied"}
    assert all(r["rule"].startswith("limits.container.") for r in written)


def test_what_it_got_is_within_its_limits(outcome: dict[str, Any]) -> None:
    # Each cut of a second admits at most the limit; the flood may touch one cut more than it lasts seconds.
    assert outcome["floods"]["requests"]["statuses"]["200"] <= 15 * (EACH_SECONDS + 1)
    assert 0 < outcome["floods"]["connections"]["statuses"]["held"] <= 20
    sent = sum(r.get("bytes_to_upstream", 0) for r in records(outcome["flooder"]))
    assert 60 * 1024 < sent <= 87 * 1024  # one request may pass the limit


def test_questions_over_the_rate_are_refused_and_a_flood_of_them_met_with_silence(
    outcome: dict[str, Any],
) -> None:
    flood = outcome["floods"]["dns"]["statuses"]
    assert flood["asked"] > 1000
    assert 0 < flood["answered"] <= 20 * (EACH_SECONDS + 2)
    assert 0 < flood["refused"] <= REFUSALS * (EACH_SECONDS + 2)
    reasons = {(r["reason"], r["rule"]) for r in records(outcome["flooder"]) if r["kind"] == "dns"}
    assert ("queries-per-second-exceeded", "limits.queries_per_second") in reasons


def test_top_showed_who_it_was(outcome: dict[str, Any]) -> None:
    flooder = outcome["top"]["tenants"][FLOODING]
    assert flooder["throttled"] > 0
    assert flooder["containers"]
    sent = {
        limit["scope"] for limit in flooder["limits"] if limit["measure"] == "bytes_out" and limit["used"]
    }
    assert sent == {"container", "tenant", "destination"}
    earlier = outcome["before"]["tenants"].get(WORKING, {}).get("throttled", 0)
    assert outcome["top"]["tenants"][WORKING]["throttled"] == earlier
    assert outcome["top"]["silent"] == []
    # The container has left, and what it had is still its tenant's.
    assert outcome["after"]["tenants"][FLOODING]["requests"] >= flooder["requests"]
