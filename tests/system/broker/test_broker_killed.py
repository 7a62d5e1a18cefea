"""The broker is killed while a call is under way: nothing passes without it, and nothing of before serves after it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.verify.case import Origin
from tests.lab import internet, providers
from tests.lab.bound import BOUND, BoundWorld
from tests.lab.containers import logs_of, start_hardened
from tests.lab.namespaces import run
from tests.lab.sdk_images import PYTHON

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
JOB = Path(__file__).with_name("jobs") / "outlives.py"
SECONDS = 60


def says(container: str, word: str) -> str:
    """What it has said, once the word is in it."""
    deadline = time.monotonic() + SECONDS
    while word not in (said := logs_of(container)):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    return said


def passed(bound: BoundWorld) -> tuple[int, int]:
    """Packets and requests that the provider got, not counting the control's."""
    bound.world.settle()
    packets = bound.world.packets(internet.REFLECTOR.address).hits(Origin.WORKLOAD)
    return packets, len(providers.seen(internet.REFLECTOR))


@pytest.fixture(scope="module")
def found(bound: BoundWorld) -> Iterator[dict[str, Any]]:
    options = ("--env", "EGRESS_WORKLOAD_CERTIFICATE=1")
    container = start_hardened(BOUND, PYTHON.tag, ("python3", "-c", JOB.read_text()), *options)
    try:
        says(container, "under way")
        with bound.world.without("broker"):  # kill -9, and nobody starts it anew
            says(container, "ended")
            time.sleep(
                1
            )  # the kernel ends the dead process's connections: those packets are not the container's
            before = passed(bound)
            says(container, "refused")
            after = passed(bound)
        said = says(container, '"after"')
        yield {**json.loads(said.splitlines()[-1]), "passed": (before, after)}
    finally:
        run("docker", "rm", "-f", container, check=False)


def test_the_call_was_under_way_with_a_live_handle(found: dict[str, Any]) -> None:
    assert found["before"]["status"] == 200, found


def test_004_02_the_answer_of_a_call_under_way_is_seen_to_be_cut_off(found: dict[str, Any]) -> None:
    assert set(found["slow"]) == {"cut"}, found


def test_004_02_004_27_without_the_broker_calls_are_refused_with_a_reason(found: dict[str, Any]) -> None:
    assert {(each.get("status"), each.get("reason")) for each in found["meanwhile"]} == {(503, "broker-unavailable")}  # fmt: skip


def test_004_27_and_no_packet_of_theirs_leaves(found: dict[str, Any]) -> None:
    before, after = found["passed"]
    assert after == before
    assert before[0] > 0  # those of the call before would have been seen


def test_004_11_a_handle_of_before_is_dead_afterwards(found: dict[str, Any]) -> None:
    assert (found["dead"]["status"], found["dead"]["reason"]) == (403, "handle-dead"), found


def test_the_next_call_works(found: dict[str, Any]) -> None:
    assert found["after"]["status"] == 200, found


def test_004_02_nothing_that_the_container_saw_holds_the_secret(
    bound: BoundWorld, found: dict[str, Any]
) -> None:
    assert bound.secret("mirror") not in json.dumps(found)
