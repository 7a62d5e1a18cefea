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
from appliance.units.render import HEADING, UNITS
from appliance.units.sandbox import LEFT_ON_NETD
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
    (out / target).write_text(f"{HEADING}, edited\n", encoding="utf-8")
    assert json.loads(egress("--json", "units", "--out", str(out)).stdout) == {"written": [target]}
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == set(document), (
        "nothing left beside"
    )


@pytest.mark.usefixtures("visible")
@pytest.mark.parametrize("name", ["docker.service.d/egressunit.conf", "egressunit.target"])
def test_a_unit_of_somebody_else_is_not_overwritten(egress: Egress, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "etc" / UNITS / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nEnvironment=HTTP_PROXY=http://192.0.2.1\n", encoding="utf-8")
    refused(egress("units", "--out", str(tmp_path / "etc")), str(theirs), "give it another name")
    assert theirs.read_text(encoding="utf-8").startswith("[Service]")
    assert [path for path in (tmp_path / "etc").rglob("*") if path.is_file()] == [theirs]


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


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A link to a tree with an interpreter, as it is behind /opt/egress/current."""
    (tmp_path / "release" / "bin").mkdir(parents=True)
    python = tmp_path / "release" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "current").symlink_to("release")
    return tmp_path / "current" / "bin" / "python"


@pytest.mark.usefixtures("visible")
def test_units_name_the_interpreter_that_was_asked_for_by_its_link(egress: Egress, release: Path) -> None:
    document = json.loads(egress("--json", "units", "--python", str(release)).stdout)
    starts = [text for path, text in document.items() if path.endswith(".service")]
    assert starts
    for text in starts:
        assert f"{release} -I -m netns.launch" in text
        assert sys.executable not in text


@pytest.mark.usefixtures("visible")
def test_an_interpreter_without_the_program_is_refused(egress: Egress, release: Path, tmp_path: Path) -> None:
    release.write_text("#!/bin/sh\necho no module >&2; exit 1\n", encoding="utf-8")
    for python, words in (
        (str(release), "does not run egress-appliance: no module"),
        (str(tmp_path / "absent"), "No such file"),
        ("bin/python", "units want an absolute path"),
    ):
        refused(egress("units", "--out", str(tmp_path / "etc"), "--python", python), words)
    assert not (tmp_path / "etc").exists()


def test_an_interpreter_behind_a_link_is_judged_where_it_is(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, release: Path, tmp_path: Path
) -> None:
    """A virtual environment's interpreter is itself a link, to one that every unit sees."""
    release.unlink()
    release.symlink_to(sys.executable)
    monkeypatch.setattr(units, "HIDDEN", (tmp_path / "release",))
    refused(egress("units", "--python", str(release)), "units do not see what is below", "install below /opt")


def test_a_passphrase_where_units_do_not_see_it_is_refused(
    settings_file: Path, egress: Egress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = tmp_path / "home" / "words"
    unlocked_by(settings_file, words)
    monkeypatch.setattr(units, "HIDDEN", (tmp_path / "home",))
    refused(egress("units"), f"{words}: units do not see what is below")


@pytest.mark.usefixtures("visible")
@pytest.mark.parametrize("place", ["egressunit-netd.service/words", "words", "egressunit-broker.service/a b"])
def test_a_credential_that_the_broker_would_not_get_is_refused(
    settings_file: Path, egress: Egress, place: str
) -> None:
    unlocked_by(settings_file, Path("/run/credentials") / place)
    refused(
        egress("units"), "systemd gives the broker its credentials in",
        "write /run/credentials/egressunit-broker.service/NAME",
    )  # fmt: skip


@pytest.mark.usefixtures("visible")
def test_a_credential_is_read_where_the_operator_keeps_it(settings_file: Path, egress: Egress) -> None:
    unlocked_by(settings_file, Path("/run/credentials/egressunit-broker.service/words"))
    assert "LoadCredentialEncrypted=words:/etc/credstore.encrypted/words\n" in egress("units").stdout
    assert "LoadCredential=words:/etc/credstore/words\n" in egress("units", "--plain-credential").stdout


def unlocked_by(settings_file: Path, passphrase_file: Path) -> None:
    document = json.loads(settings_file.read_text())
    document["vault"] = {"unlock": "passphrase_file", "passphrase_file": str(passphrase_file)}
    settings_file.write_text(json.dumps(document))


def test_what_is_left_on_netd_is_told_with_its_reason(egress: Egress) -> None:
    told = json.loads(egress("--json", "units", "--reasons").stdout)
    assert told == dict(LEFT_ON_NETD)
    lines = egress("units", "--reasons").stdout.splitlines()
    assert len(lines) == len(LEFT_ON_NETD) + 1
    for key, why in LEFT_ON_NETD.items():
        assert any(line.startswith(key) and line.endswith(why) for line in lines)


def test_also_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "opt").symlink_to(tmp_path / "home")
    monkeypatch.setattr(units, "HIDDEN", (tmp_path / "home",))
    with pytest.raises(units.Failure):
        units.seen([tmp_path / "opt" / "egress"])
