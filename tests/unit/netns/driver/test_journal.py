"""Refusals and stops reach netd's own chain; a full disk is told, and changes no refusal."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address
from pathlib import Path

from driver_fakes import ENDPOINT, NET

from appliance.audit import place
from appliance.audit.read import Selection, records
from appliance.audit.sink import Sink
from appliance.audit.verify import verify
from netns.driver.admission import Refused
from netns.driver.journal import Journal
from netns.driver.messages import AuthorizationRequest
from netns.plumbing import Attachment

LINK = Attachment(ENDPOINT, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
CALL = AuthorizationRequest(RequestMethod="POST", RequestUri="/containers/x/start")


def full(descriptor: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_records_are_chained_and_denied(tmp_path: Path) -> None:
    journal = Journal(Sink(tmp_path, "netd"))
    assert journal.unrecordable() == ""
    journal.refused(CALL, Refused(("memory",), "egress: no", "acme"))
    journal.stopped(LINK, "c1", "process-status", "root")
    journal.ended("c1", "acme", "one-network", "egress: no")
    found = list(records(tmp_path, Selection(tenant="acme", refused=True)))
    assert [(r["kind"], r["process"], r["operation"], r["reason"]) for r in found] == [
        ("admission", "netd", "start", "memory"),
        ("admission", "netd", "run", "process-status"),
        ("admission", "netd", "run", "one-network"),
    ]
    report = verify(place.chain_files(tmp_path, "netd"))
    assert report.intact
    assert report.records == 3, "asking whether there is room writes nothing"


def test_a_repaired_seal_is_on_record(tmp_path: Path) -> None:
    Journal(Sink(tmp_path, "netd")).resealed(LINK)
    (record,) = records(tmp_path, Selection(tenant="acme"))
    assert (record["event"], record["reason"]) == ("repaired", "drift")
    assert record["subject"] == f"seal of endpoint {ENDPOINT[:12]}"


def test_a20_an_engine_that_asks_no_more_is_on_record_with_the_mend(tmp_path: Path) -> None:
    journal = Journal(Sink(tmp_path, "netd"))
    journal.admission("add it, then reload", on=False)
    journal.admission("add it, then reload", on=True)
    off, on = records(tmp_path)
    assert (off["event"], on["event"]) == ("admission-off", "admission-on")
    assert "add it, then reload" in off["detail"]


def test_a_full_disk(tmp_path: Path) -> None:
    journal = Journal(Sink(tmp_path, "netd", reserve=full))
    assert journal.unrecordable().startswith("audit-unavailable: ")
    assert "no space left for audit records" in journal.unrecordable()
    journal.refused(CALL, Refused(("memory",), "egress: no"))
    assert list(records(tmp_path)) == []
