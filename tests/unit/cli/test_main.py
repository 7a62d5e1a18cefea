"""The command as a whole: options that are none, settings that are none, faults for people and machines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.cli import doctor, main
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused

NAMED = re.compile(r"`egress ([^`]+)`")
COMMANDS = [
    ("up",), ("down",), ("status",), ("doctor",), ("version",), ("completion",), ("log",), ("run",), ("shell",),
    ("top",), ("units",), ("verify",), ("fallback",), ("tenant", "add"), ("tenant", "list"), ("tenant", "show"), ("tenant", "rm"),
    ("policy", "check"), ("policy", "explain"), ("policy", "schema"), ("policy", "reload"),
    ("integration", "list"), ("integration", "show"), ("integration", "add"), ("integration", "rm"),
    ("integration", "test"),
    ("secret", "set"), ("secret", "list"), ("secret", "rotate"), ("secret", "rm"),
    ("handle", "list"), ("workload", "disable"), ("workload", "enable"), ("vault", "status"), ("vault", "unlock"), ("vault", "lock"), ("vault", "passphrase"), ("vault", "rekey"),
]  # fmt: skip


def below(group: click.Command, word: str) -> click.Command:
    """Command `word` of `group`."""
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), word)
    assert found is not None, word
    return found


def test_all_commands_are_listed_and_each_is_where_the_table_says(egress: Egress) -> None:
    listed = re.findall(r"^  ([a-z]+)  ", egress("--help").output.partition("Commands:")[2], re.MULTILINE)
    assert listed == sorted({*main.MODULES, "completion"})
    assert {below(main.cli, word).name for word in main.MODULES} == set(main.MODULES)
    assert main.cli.get_command(click.Context(main.cli), "nothing") is None


@pytest.mark.parametrize("module", ["main", "status", "policies", "logs", "top", "secrets", "fallback"])
def test_what_only_asks_or_reads_starts_without_a_reactor_and_without_the_sdk_of_docker(module: str) -> None:
    program = (
        f"import sys, appliance.cli.{module}; print({{'twisted', 'docker', 'OpenSSL'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_who_mistypes_a_command_is_told_of_the_like(egress: Egress) -> None:
    assert "Did you mean 'status'" in egress("statsu").output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_options(
    egress: Egress, command: tuple[str, ...]
) -> None:
    result = egress(*command, "--help")
    assert result.exit_code == 0
    found: click.Command = main.cli
    for word in command:
        found = below(found, word)
    assert found.help
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command}: {parameter.name} says nothing"


def named_commands() -> set[str]:
    """What stands between backticks in any source file and begins with the name of our command."""
    root = Path(main.__file__).parents[2]
    files = [file for package in ("appliance", "netns", "squid") for file in (root / package).rglob("*.py")]
    return {found for file in files for found in NAMED.findall(file.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("named", sorted(named_commands()))
def test_every_command_that_a_message_names_is_one(named: str) -> None:
    found: click.Command = main.cli
    words = named.split()
    options = [option for parameter in found.params for option in parameter.opts]
    while words and isinstance(found, click.Group):
        word = words.pop(0)
        if word in options:
            continue
        several = [below(found, name) for name in word.split("|")]
        found = several[0]
    options = [option for parameter in found.params for option in parameter.opts]
    assert all(word in options for word in words if word.startswith("-")), named
    context = click.Context(found, resilient_parsing=True)
    _values, superfluous, _order = found.make_parser(context).parse_args(words)
    assert not superfluous, named


def test_completion(egress: Egress) -> None:
    assert egress("completion", "bash").output == 'eval "$(_EGRESS_COMPLETE=bash_source egress)"\n'
    assert egress("completion", "fish").output == "_EGRESS_COMPLETE=fish_source egress | source\n"
    assert json.loads(egress("--json", "completion", "zsh").stdout)["shell"] == "zsh"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wokers: 2\n", ("egress.yaml:1:1", "wokers")),
        ("workers: [\n", ("egress.yaml:2:1",)),
        (b"\xff", ("egress.yaml:1:1", "not UTF-8")),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str | bytes, words: tuple[str, ...]) -> None:
    file = tmp_path / "egress.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(CliRunner().invoke(main.cli, ["--settings", str(file), "status"]), *words, code=2)


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(main.cli, ["--settings", str(tmp_path / "none.yaml"), "status"])
    refused(result, "no such settings file; create it", code=2)


@pytest.mark.parametrize(
    "command", [("nosuch",), ("status", "--nosuch"), ("tenant",), ("tenant", "add"), ("log", "-n", "0")]
)
def test_a_line_that_is_no_command(egress: Egress, command: tuple[str, ...]) -> None:
    assert egress(*command).exit_code == 2
    document = json.loads(egress("--json", *command).stdout)
    assert document["exit_code"] == 2
    assert len(document["error"].splitlines()) == 1


def test_a_failure_is_a_document_for_a_machine(egress: Egress) -> None:
    result = egress("--json", "tenant", "show", "nope")
    document = json.loads(result.stdout)
    assert result.exit_code == document["exit_code"] == 1
    assert "no tenant 'nope'" in document["error"]
    refused(result, document["error"])


ODD = [b"\xff\xfe", b"[/red]", b"../../etc/passwd", b"a\nb", b"-", b"", b"x" * 5000, b"/", b"/dev/zero",
       b"http://[::1", b"http://a\tb/"]  # fmt: skip


@pytest.mark.parametrize("word", ODD, ids=lambda word: repr(word[:12]))
@pytest.mark.parametrize(
    "command",
    [
        ("tenant", "add", "n1", "--no-network", "--policy"), ("tenant", "show"), ("policy", "check"),
        ("policy", "explain", "--tenant", "good", "GET"), ("policy", "explain", "--tenant", "good"),
        ("log", "--tenant"), ("run", "--tenant"), ("completion",), ("--settings",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_whatever_is_typed_ends_in_a_message(
    egress: Egress, settings: Settings, tenant: Callable[..., Path], command: tuple[str, ...], word: bytes
) -> None:
    tenant("good")
    result = egress("--json", *command, os.fsdecode(word))
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in (1, 2)
    assert isinstance(json.loads(result.stdout), dict)
    assert "internal fault" not in result.stderr
    assert [file.name for file in settings.tenants_dir.iterdir()] == ["good.yaml"]


def test_a_bug_of_ours_is_no_traceback(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_settings: object) -> list[object]:
        raise IndexError("list index out of range")

    monkeypatch.setattr(doctor, "running", broken)
    refused(egress("doctor"), "internal fault (IndexError", code=70)


def test_a_reader_that_left_is_no_failure(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: object, **_kw: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(main.click, "echo", gone)
    result = egress("version")
    assert result.exit_code == 1
    assert result.output == ""
