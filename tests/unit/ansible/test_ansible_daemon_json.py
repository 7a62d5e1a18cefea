"""Docker's file keeps what others wrote, and has its old text back in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plugin import load

MODULE = load("modules/daemon_json.py")
PLUGIN = {"authorization-plugins": ["egress"]}
LIVE = {"live-restore": True}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "daemon.json"


def run(
    record: Any, file: Path, settings: dict[str, Any], state: str = "present", *, check: bool = False
) -> Any:
    return MODULE.run({"path": str(file), "settings": settings, "state": state}, record, check=check)


def written(file: Path, text: str) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return text


def test_what_others_wrote_stays_and_lists_are_united(record: Any, file: Path) -> None:
    written(
        file, '{"bip": "10.9.0.1/24", "authorization-plugins": ["other"], "log-opts": {"max-size": "1m"}}'
    )
    wanted = {**PLUGIN, **LIVE, "log-opts": {"max-file": "3"}}
    assert run(record, file, wanted)["changed"]
    assert json.loads(file.read_text()) == {
        "bip": "10.9.0.1/24",
        "authorization-plugins": ["other", "egress"],
        "log-opts": {"max-size": "1m", "max-file": "3"},
        "live-restore": True,
    }
    assert not run(record, file, wanted)["changed"]


@pytest.mark.parametrize(
    "text",
    ['{ "bip":"10.9.0.1/24" }', '{"live-restore": true}\n\n', '{"authorization-plugins": []}', "", "{}\n"],
)
def test_it_has_its_old_text_back(record: Any, file: Path, text: str) -> None:
    written(file, text)
    run(record, file, LIVE)
    run(record, file, PLUGIN)
    run(record, file, PLUGIN, "absent")
    assert "authorization-plugins" not in json.loads(file.read_text()) or "authorization" in text
    run(record, file, {}, "absent")
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]
    assert record.section("daemon_json") == {}
    assert not run(record, file, {}, "absent")["changed"]


def test_a_file_that_was_not_there_goes(record: Any, file: Path) -> None:
    run(record, file, {**PLUGIN, **LIVE})
    assert file.stat().st_mode & 0o777 == 0o644
    run(record, file, {}, "absent")
    assert not file.exists()


def test_the_text_before_stays_beside_until_removal(record: Any, file: Path) -> None:
    text = written(file, '{"bip": "10.9.0.1/24"}')
    run(record, file, LIVE)
    run(record, file, PLUGIN)
    beside = file.with_name("daemon.json.before-egress")
    assert beside.read_text() == text


def test_what_others_wrote_since_stays_at_removal(record: Any, file: Path) -> None:
    written(file, '{"bip": "10.9.0.1/24"}')
    run(record, file, {**PLUGIN, **LIVE})
    current = json.loads(file.read_text())
    current["authorization-plugins"].append("other")
    current["live-restore"] = False
    current["icc"] = False
    written(file, json.dumps(current))
    run(record, file, {}, "absent")
    assert json.loads(file.read_text()) == {
        "bip": "10.9.0.1/24",
        "authorization-plugins": ["other"],
        "live-restore": False,
        "icc": False,
    }


def test_an_entry_of_somebody_else_is_not_taken_away(record: Any, file: Path) -> None:
    text = written(file, '{"authorization-plugins": ["egress"]}')
    assert not run(record, file, PLUGIN)["changed"]
    run(record, file, {}, "absent")
    assert file.read_text() == text


def test_only_what_was_added_is_taken_from_a_list(record: Any, file: Path) -> None:
    written(file, '{"authorization-plugins": ["egress"]}')
    run(record, file, {"authorization-plugins": ["second"]})
    run(record, file, PLUGIN, "absent")
    assert json.loads(file.read_text()) == {"authorization-plugins": ["egress", "second"]}


def test_a_value_of_ours_follows_its_variable(record: Any, file: Path) -> None:
    run(record, file, {"icc": True})
    assert run(record, file, {"icc": False})["changed"]
    assert json.loads(file.read_text()) == {"icc": False}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"live-restore": false}', "live-restore is false, wanted true"),
        ('{"live-restore": 1}', "live-restore is 1, wanted true"),
        ('{"live-restore": [true]}', "wanted true"),
        ('{"live-restore": tru}', "not JSON .*column"),
        ('["live-restore"]', "no JSON object"),
        ('{"icc": true, "icc": false}', "icc twice"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_a_conflict_changes_nothing(record: Any, file: Path, text: str, says: str, *, check: bool) -> None:
    written(file, text)
    with pytest.raises(MODULE.Refused, match=says):
        run(record, file, {**PLUGIN, **LIVE}, check=check)
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]
    assert record.section("daemon_json") == {}


def test_all_conflicts_are_told_at_once(record: Any, file: Path) -> None:
    written(file, '{"live-restore": false, "log-opts": {"max-file": "1"}}')
    with pytest.raises(MODULE.Refused, match=r"live-restore is false.*log-opts\.max-file is"):
        run(record, file, {**LIVE, "log-opts": {"max-file": "3"}})


def test_check_mode_changes_nothing_and_says_what_would(record: Any, file: Path) -> None:
    text = written(file, "{}")
    outcome = run(record, file, LIVE, check=True)
    assert outcome["changed"]
    assert json.loads(outcome["diff"]["after"]) == LIVE
    assert file.read_text() == text
    assert record.section("daemon_json") == {}


def test_a_link_is_followed_and_the_mode_stays(record: Any, file: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    written(file, "{}").encode()
    file.rename(target)
    target.chmod(0o600)
    file.symlink_to(target)
    run(record, file, LIVE)
    assert file.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(target.read_text()) == LIVE
