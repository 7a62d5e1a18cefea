from __future__ import annotations

import json

from appliance.verify import report
from appliance.verify.case import Layer, Outcome, Output, Result
from tests.unit.verify.fake_world import Counts, canary, case

HELD = Result(case(canary(Counts())), Layer.GATEWAY, 0.21, output=Output(1, "REFUSED"))
FAILED = Result(case(outcome=Outcome.REACHES), Layer.SQUID, 1.0, ("exit status 1",))
SKIPPED = Result(case(), Layer.KERNEL, 0.0, not_run="no image")


def test_a_row_has_all_cells() -> None:
    assert report.row(HELD) == (
        "A1-x",
        "gateway",
        "a title",
        "refused, 1 silent",
        "refused, 1 silent",
        "0.2 s",
    )
    assert report.row(FAILED)[3:5] == ("reached", "FAILED: exit status 1")
    assert report.row(SKIPPED)[4] == "NOT RUN: no image"
    assert len(report.row(HELD)) == len(report.HEAD)


def test_a_long_title_is_cut() -> None:
    long = Result(case(), Layer.GATEWAY, 0.0)
    object.__setattr__(long.case, "title", "x" * 200)
    assert len(report.row(long)[2]) == report.TITLE_SHOWN


def test_what_did_not_run_did_not_hold() -> None:
    assert report.closing([HELD, FAILED, SKIPPED]) == "verify: 1 of 3 cases hold, 1 skipped"
    assert report.closing([HELD]) == "verify: 1 of 1 cases hold, 0 skipped"
    assert not report.all_held([HELD, SKIPPED])
    assert not report.all_held([HELD, FAILED])
    assert not report.all_held([]), "nothing seen is nothing proved"
    assert report.all_held([HELD])


def test_for_machines() -> None:
    read = json.loads(json.dumps(report.document([HELD, FAILED, SKIPPED])))
    assert (read["held"], read["cases"], read["skipped"]) == (1, 3, 1)
    assert [r["held"] for r in read["results"]] == [True, False, False]
    assert read["results"][0]["output"] == "REFUSED"
    assert read["results"][2]["not_run"] == "no image"


def test_by_layer() -> None:
    assert report.by_layer([HELD, FAILED, SKIPPED]) == "gateway 1/1, squid 0/1, kernel 0/1"
