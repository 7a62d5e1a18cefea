"""appliance.cli.units: printed, or written where systemd reads them."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main, units
from appliance.settings import SETTINGS_VARIABLE
from appliance.units.render import UNITS
from tests.unit.cli.typed import Egress, refused


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests run below /tmp, maybe by an interpreter of somebody's home."""
    monkeypatch.setattr(units, "HIDDEN", ())


@pytest.mark.usefixtures("visible")
def test_they_are_printed_each_under_its_name(egress: Egress) -> None:
    document = json.loads(egress("--json", "units").stdout)
    text = egress("units").stdout
    for path, content in document.items():
        assert f"# {path}\n{content}" in text
    assert f"{UNITS}/egressunit.target" in document
    start = document[f"{UNITS}/egressunit-netd.service"]
    assert f"ExecStart={sys.executable} -I -m netns.launch --in-place netd\n" in start
    assert f"Environment={SETTINGS_VARIABLE}=" in start


@pytest.mark.usefixtures("visible")
def test_they_are_written_once_and_again_where_they_differ(egress: Egress, tmp_path: Path) -> None:
    out = tmp_path / "etc"
    document = json.loads(egress("--json", "units").stdout)
    assert set(egress("units", "--out", str(out)).stdout.split()) == set(document)
    for path, content in document.items():
        assert (out / path).read_text(encoding="utf-8") == content
        assert stat.S_IMODE((out / path).stat().st_mode) == 0o644
    assert egress("units", "--out", str(out)).stdout == "all are there already\n"
    target = f"{UNITS}/egressunit.target"
    (out / target).write_text("edited", encoding="utf-8")
    assert json.loads(egress("--json", "units", "--out", str(out)).stdout) == {"written": [target]}
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == set(document), (
        "nothing left beside"
    )


@pytest.mark.parametrize("where", units.HIDDEN)
def test_what_a_unit_would_not_see_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: Path
) -> None:
    monkeypatch.setattr(units, "HIDDEN", (where,))
    monkeypatch.setattr(sys, "executable", str(where / "venv" / "bin" / "python"))
    monkeypatch.delenv(SETTINGS_VARIABLE, raising=False)
    result = CliRunner().invoke(main.cli, ["units", "--out", str(tmp_path / "etc")], prog_name="egress")
    refused(result, f"units do not see what is below {where}", "install below /opt")
    assert not (tmp_path / "etc").exists()


def test_also_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "opt").symlink_to(tmp_path / "home")
    monkeypatch.setattr(units, "HIDDEN", (tmp_path / "home",))
    with pytest.raises(units.Failure):
        units.seen([tmp_path / "opt" / "egress"])
