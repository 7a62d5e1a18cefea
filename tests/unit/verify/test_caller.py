from __future__ import annotations

import gzip
import json
from email.message import Message

import pytest

from appliance.verify import caller


def fields(**named: str) -> Message:
    message = Message()
    for name, value in named.items():
        message[name.replace("_", "-")] = value
    return message


def test_of_a_refusal_the_reason_is_told() -> None:
    problem = fields(Content_Type="application/problem+json")
    assert caller.said(403, problem, b'{"reason":"handle-dead"}') == "403 handle-dead"


def test_of_an_answer_all_is_told_on_one_line_also_where_it_is_coded() -> None:
    """What is forbidden is looked for in it."""
    told = caller.said(200, fields(Content_Encoding="gzip", X_You_Are="me"), gzip.compress(b"the\nsecret"))
    assert told == "200 Content-Encoding=gzip; X-You-Are=me: the secret"


def test_what_is_known_is_filled_in_wherever_it_stands() -> None:
    step = {"headers": {"Authorization": "Bearer $token"}, "body": None, "account": "$handle"}
    assert caller.filled(step, {"token": "t-1"}) == {
        "headers": {"Authorization": "Bearer t-1"}, "body": None, "account": "unknown",
    }  # fmt: skip


def test_a_step_that_breaks_off_leaves_its_line_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [("bare", "without"), ("first", "request", "GET", "https://\x00/", {}), ("again", "own"), ("end", "wait", 0)]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["-c", json.dumps(steps)])
    caller.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bare", "first", "again", "end"]
    assert lines[1].startswith("first failed ")


def test_what_is_stolen_is_used_until_the_own_is_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(caller, "TAKEN", f"{tmp_path}/taken.pem")
    known: caller.Known = {"stolen": "certificate and key"}
    caller.take(known)
    assert known["certificate"] == (caller.TAKEN, caller.TAKEN)
    caller.own(known)
    assert "certificate" not in known
