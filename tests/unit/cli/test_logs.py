"""`egress log`: each kind of record in one line that a person can use."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from appliance.audit.record import AdmissionRecord, LifecycleRecord, Outcome
from appliance.audit.sink import Sink
from appliance.cli.logs import line
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused

TIME = "2026-11-20T17:00:00.123456Z"
ADMISSION: dict[str, Any] = {
    "time": TIME, "kind": "admission", "process": "netd", "operation": "create", "tenant": "acme",
    "container": "web", "image": "base", "user": None, "outcome": "denied", "reason": "memory",
    "rule": "admission: memory", "detail": "egress: container on network acme needs --memory 512m",
}  # fmt: skip
REQUEST: dict[str, Any] = {
    "time": TIME, "kind": "request", "tenant": "acme", "container": "c1", "method": "GET", "scheme": "https",
    "host": "example.org", "port": 443, "path": "/a", "outcome": "allowed", "status": 200, "reason": "allowed-by-rule",
    "rule": "acme.yaml:3", "detail": "one sentence",
}  # fmt: skip

STOPPED = AdmissionRecord(
    operation="run", tenant="acme", container="c1", image="base", user=None, outcome=Outcome.DENIED,
    reason="process-status", rule=None, detail=None,
)  # fmt: skip


def shown(**record: Any) -> str:
    return click.unstyle(line(record))


def test_an_admission_refusal_says_what_to_do() -> None:
    assert shown(**ADMISSION) == (
        "2026-11-20 17:00:00.123  denied   acme          create web  memory [admission: memory]  "
        "egress: container on network acme needs --memory 512m"
    )


def test_without_a_name_the_image_is_shown() -> None:
    assert "  create base  " in shown(**ADMISSION | {"container": None})


def test_a_stopped_container_is_shown_by_its_id() -> None:
    assert "  run c1  process-status" in shown(
        **ADMISSION | {"operation": "run", "container": "c1", "reason": "process-status"}
    )


def test_a_request() -> None:
    assert shown(**REQUEST) == (
        "2026-11-20 17:00:00.123  allowed  acme          GET https://example.org/a  200  "
        "allowed-by-rule [acme.yaml:3]"
    )


def test_a_record_that_stands_for_many() -> None:
    assert "/a  200  980 times  allowed-by-rule" in shown(**REQUEST | {"count": 980})
    assert shown(**REQUEST | {"count": 1}) == shown(**REQUEST)


@pytest.mark.parametrize("field", ["container", "detail", "outcome", "tenant"])
def test_no_word_of_a_caller_steers_the_terminal(field: str) -> None:
    printed = line(ADMISSION | {field: "a\x1b[2J\r\u202eb"})
    assert "\x1b[2J" not in printed
    assert "\r" not in printed
    assert "\u202e" not in printed


def write(settings: Settings, *records: dict[str, Any]) -> None:
    settings.audit_dir.mkdir(parents=True)
    with contextlib.closing(Sink(settings.audit_dir, "gateway-0")) as sink:
        for _ in records:
            sink.write(LifecycleRecord(event="started"))


def test_no_records_at_all(egress: Egress) -> None:
    refused(egress("log"), "no audit records in", "egress up")


def test_records_for_a_person_and_for_a_machine(egress: Egress, settings: Settings) -> None:
    write(settings, {}, {})
    assert len(egress("log").output.splitlines()) == 2
    assert len(egress("log", "-n", "1").output.splitlines()) == 1
    assert [json.loads(text)["event"] for text in egress("--json", "log").stdout.splitlines()] == [
        "started"
    ] * 2
    assert "intact" in egress("log", "--verify").output


def times(egress: Egress, *options: str) -> list[str]:
    return [json.loads(text)["time"][:19] for text in egress("--json", "log", *options).stdout.splitlines()]


def test_records_of_one_container_of_one_kind_of_a_time(egress: Egress, settings: Settings) -> None:
    settings.audit_dir.mkdir(parents=True)
    clock = [1_795_276_800.0]  # 2026-11-21T16:00:00Z
    with contextlib.closing(Sink(settings.audit_dir, "netd", clock=lambda: clock[0])) as sink:
        for container in ("c0ffee", "c0de"):
            sink.write(LifecycleRecord(event="started"))
            sink.write(replace(STOPPED, container=container))
            clock[0] += 60
    first, second = "2026-11-21T16:00:00", "2026-11-21T16:01:00"
    assert times(egress, "--container", "c0f") == [first]
    assert times(egress, "--container", "c0") == [first, second]
    assert times(egress, "--kind", "lifecycle") == [first, second]
    assert len(times(egress, "--kind", "lifecycle", "--kind", "admission")) == 4
    assert times(egress, "--since", f"{second}Z") == [second] * 2
    assert times(egress, "--until", f"{first}Z") == [first] * 2
    assert times(egress, "--kind", "admission", "--since", "2026-11-21T17:00:30+01:00") == [second]


def test_what_is_older_is_shown_before_what_follows(
    egress: Egress, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, {}, {})
    monkeypatch.setattr("appliance.cli.logs.follow", lambda *_: iter(()))
    assert egress("log", "-f").output == ""
    assert len(egress("log", "-f", "--since", "1h").output.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "soon"), "'soon' is no time; write a span back from now (30s, 10m, 2h, 1d)"),
        (("--until", "2026-11-21"), "'2026-11-21' is no time"),
        (("--since", "1h", "--until", "2h"), "--until is before --since"),
        (("-f", "--until", "1h"), "-f goes on without end"),
        (("--kind", "packets"), "'packets' is not one of 'request', 'call', 'connection'"),
    ],
)
def test_what_selects_nothing_is_told(
    egress: Egress, settings: Settings, options: tuple[str, ...], words: str
) -> None:
    write(settings, {})
    result = egress("log", *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert words in json.loads(egress("--json", "log", *options).stdout)["error"]


def test_a_tenant_that_does_not_exist(egress: Egress, settings: Settings) -> None:
    write(settings, {})
    refused(egress("log", "--tenant", "nope"), "no tenant 'nope'")


@pytest.mark.parametrize("option", [(), ("--verify",), ("-n", "3")])
def test_a_directory_for_root_alone(
    egress: Egress, settings: Settings, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...]
) -> None:
    def closed(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", closed)
    refused(egress("log", *option), f"{settings.audit_dir}: Permission denied; run it as root")
