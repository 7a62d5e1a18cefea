"""`egress top`: what the workers say, added up."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from appliance import ipc
from appliance.cli.filling import Filled
from appliance.cli.top import TenantUse, Use, limit_rows, merged, rows
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused


def endpoint(tenant: str, name: str, **counts: int) -> dict[str, Any]:
    return {"id": f"{name}-id", "tenant": tenant, "container": "c" * 64, "name": name, **counts}


ANSWERS = [
    {"ok": True, "endpoints": [endpoint("acme", "job", requests=5, rate=1, connections=2, bytes_out=100)],
     "departed": [{"tenant": "acme", "requests": 40, "denied": 3}],
     "limits": [
         {"tenant": "acme", "scope": "destination", "of": "a.net:443", "name": "a.net:443",
          "measure": "bytes_out", "used": 2048, "limit": 4096},
         {"tenant": "acme", "scope": "tenant", "of": "", "name": "", "measure": "bytes_in", "used": 0, "limit": 9},
     ]},
    {"ok": True, "endpoints": [endpoint("acme", "other", requests=7, throttled=2, rate=2),
                               endpoint("beta", "flood", requests=900, rate=90)], "departed": []},
]  # fmt: skip


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the worker says; an exception is raised instead."""
    said: list[Any] = [ANSWERS[0]]

    def ask(path: str, message: ipc.Message, timeout: float) -> ipc.Message:
        if path.endswith("resolver.sock"):
            assert message == {"op": "status"}
            return {"ok": True, "asking": {"acme": [450, 500]}}
        assert message == {"op": "usage"}
        if isinstance(said[0], Exception):
            raise said[0]
        answer: ipc.Message = said[0]
        return answer

    monkeypatch.setattr(ipc, "ask", ask)
    return said


def test_workers_are_added_up_and_the_busiest_comes_first() -> None:
    seen = merged(ANSWERS)
    assert list(seen) == ["beta", "acme"]
    acme = seen["acme"]
    assert (acme.whole.requests, acme.whole.rate, acme.whole.denied) == (52, 3, 3)
    assert list(acme.containers) == ["other", "job"]
    assert acme.containers["job"] == Use(rate=1, connections=2, requests=5, bytes_out=100)


def test_a_container_without_a_name_is_known_by_its_id() -> None:
    (seen,) = merged([{"endpoints": [endpoint("acme", "")], "departed": []}]).values()
    assert list(seen.containers) == ["c" * 12]


def test_no_name_steers_the_terminal() -> None:
    seen = {"acme": TenantUse(containers={"a\x1b[2J": Use(bytes_in=30 * 2**20, bytes_out=2048)})}
    _, row = rows(seen)
    assert row[1] == "a\\x1b[2J"
    assert row[7:9] == ("2KiB", "30MiB")


def test_once(egress: Egress, answering: list[Any]) -> None:
    result = egress("top", "--once")
    assert result.exit_code == 0
    head, tenant, container = click.unstyle(result.output).splitlines()
    assert head.split()[:4] == ["TENANT", "CONTAINER", "REQ/S", "CONN"]
    assert tenant.split()[:9] == ["acme", "1", "2", "45", "3", "0", "100B", "0B", "0"]
    assert tenant.endswith("90% tenant queries_per_second")
    assert container.split() == ["job", "1", "2", "5", "0", "0", "100B", "0B", "0"]


def test_every_limit_of_which_something_is_used_the_fullest_first(
    egress: Egress, answering: list[Any]
) -> None:
    lines = click.unstyle(egress("top", "--once", "--limits").output).splitlines()
    at = lines.index("")
    head, *limits = lines[at + 1 :]
    assert head.split() == ["TENANT", "SCOPE", "OF", "LIMIT", "USED", "BOUND", "%"]
    assert [line.split() for line in limits] == [
        ["acme", "tenant", "queries_per_second", "450", "500", "90"],
        ["acme", "destination", "a.net:443", "bytes_out", "2KiB", "4KiB", "50"],
    ]
    assert "SCOPE" not in egress("top", "--once").output


def test_no_name_of_a_limit_steers_the_terminal() -> None:
    limit = Filled("container", "a\x1b[2J", "connections", 9, 10)
    seen = {"acme": TenantUse(limits=[limit])}
    (row,) = limit_rows(seen)
    assert row[2] == "a\\x1b[2J"
    (line,) = rows(seen)
    assert "\x1b[2J" not in line[-1]


def test_for_a_machine(egress: Egress, answering: list[Any]) -> None:
    document = json.loads(egress("--json", "top", "--once").stdout)
    assert document["tenants"]["acme"]["requests"] == 45
    assert document["tenants"]["acme"]["containers"]["job"]["connections"] == 2
    limits = document["tenants"]["acme"]["limits"]
    assert limits[0] == {
        "scope": "tenant", "name": "", "measure": "queries_per_second", "used": 450, "limit": 500,
    }  # fmt: skip
    assert len(limits) == 3
    assert document["silent"] == []


def test_it_goes_on_until_interrupted(
    egress: Egress, answering: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("appliance.cli.top.time.sleep", sleep)
    lines = egress("--json", "top", "--interval", "0.5").stdout.splitlines()
    assert [json.loads(line)["tenants"]["acme"]["rate"] for line in lines if line] == [1, 1, 1]
    assert slept == [0.5] * 3


def test_one_tenant(egress: Egress, answering: list[Any], tenant: Any) -> None:
    tenant("acme")
    tenant("quiet")
    assert "job" in egress("top", "--once", "--tenant", "acme").output
    assert "job" not in egress("top", "--once", "--tenant", "quiet").output
    refused(egress("top", "--once", "--tenant", "nobody"), "nobody")


def test_down_is_said_with_the_mend(egress: Egress) -> None:
    refused(egress("top", "--once"), "not running; start it: sudo egress up")


def test_a_silent_worker_is_named(egress: Egress, answering: list[Any], settings: Settings) -> None:
    answering[0] = TimeoutError()
    refused(egress("top", "--once"), "gateway-0 is silent")
