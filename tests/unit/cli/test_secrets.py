"""Secrets come in by every way but the command line, and what was typed there is repeated nowhere."""

from __future__ import annotations

import json
import os
import pty
import secrets as randomness
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click.testing
import pytest
from twisted.internet.testing import StringTransport

from appliance import ipc
from appliance.broker.vault import kek as keys
from appliance.broker.vault.control import MAX_VALUE, VaultControl
from appliance.broker.vault.envelope import KEY, LocalKey
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import KINDS, StaticSecret
from appliance.broker.vault.opening import open_vault
from appliance.broker.vault.vault import Vault
from appliance.cli import secrets
from appliance.cli.main import cli
from appliance.control import ControlFactory
from appliance.peer import Credentials
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused

CANARY = "canary-9c1f55e7aa"
PASSPHRASE, OTHER = "seven owls read maps", "seven owls read music"
WHOSE = ("--tenant", "acme", "--integration", "openai-acme")
PLACE = ("acme", "openai-acme", "key")

Piped = Callable[..., click.testing.Result]


class Broker:
    """The broker's real operations, without a process."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.messages: list[ipc.Message] = []
        self.records: list[Any] = []

    def answer(self, message: ipc.Message) -> ipc.Message:
        async def at_once(act: Callable[[], Any], /) -> Any:
            return act()

        audit: Any = SimpleNamespace(write=self.records.append)
        withdrawing: Any = SimpleNamespace(
            secret_changed=lambda *_, removed: removed, vault_locked=lambda: None
        )
        control = VaultControl(
            self.vault, audit, at_once, lambda: datetime(2026, 6, 1, tzinfo=UTC), withdrawing=withdrawing
        )
        factory = ControlFactory(control.operations(), identify=lambda _: Credentials(7, 0, 0))
        peer, transport = factory.buildProtocol(None), StringTransport()
        peer.makeConnection(transport)
        peer.dataReceived(json.dumps(message).encode() + b"\n")
        self.messages.append(message)
        answer: ipc.Message = json.loads(transport.value().splitlines()[0])
        return answer

    @property
    def value(self) -> str:
        with self.vault.reveal(*PLACE) as material:
            assert isinstance(material, StaticSecret)
            return material.value.get_secret_value()


@pytest.fixture
def new(settings: Settings, monkeypatch: pytest.MonkeyPatch, tenant: Callable[..., Path]) -> Iterator[Broker]:
    """A vault that waits for its first passphrase."""
    monkeypatch.setattr(keys, "new_parameters", lambda random: keys.Argon2(random(16), 1, 19 * 1024, 1))
    tenant("acme")
    asked = settings.model_copy(update={"vault": settings.vault.model_copy(update={"unlock": "passphrase"})})
    broker = Broker(open_vault(asked))
    monkeypatch.setattr(
        secrets,
        "ask_process",
        lambda _settings, name, message: broker.answer(message) if name == "broker" else None,
    )
    yield broker
    broker.vault.close()


@pytest.fixture
def broker(new: Broker) -> Broker:
    new.vault.keyring.use(LocalKey(bytearray(b"k" * KEY), randomness.token_bytes), Source.KEY_FILE)
    return new


@pytest.fixture
def piped(settings_file: Path, as_root: None) -> Piped:
    def run(octets: bytes | str, *arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(
            cli, ["--settings", str(settings_file), *arguments], input=octets, prog_name="egress"
        )

    return run


def test_a_secret_through_a_pipe_lives_its_life(egress: Egress, piped: Piped, broker: Broker) -> None:
    result = piped(CANARY + "\n", "secret", "set", "key", *WHOSE)
    assert result.output == "openai-acme/key of tenant acme: version 1\n"
    assert broker.value == CANARY
    result = piped("canary-newer-one", "secret", "rotate", "key", *WHOSE, "--keep", "0")
    assert result.output == "openai-acme/key of tenant acme: version 2\n"
    assert broker.value == "canary-newer-one"
    listed = egress("secret", "list")
    assert listed.output.split() == [
        "TENANT", "INTEGRATION", "NAME", "KIND", "VERSION", "KEPT", "SET",
        "acme", "openai-acme", "key", "static", "2", "2", "2026-06-01T00:00:00+00:00",
    ]  # fmt: skip
    assert egress("secret", "list", "--tenant", "other").output.count("\n") == 1
    documents = [
        json.loads(egress(*words).stdout)
        for words in (("--json", "secret", "list"), ("secret", "list", "--json"))
    ]
    assert documents[0] == documents[1]
    assert documents[0][0]["version"] == 2
    removed = egress("secret", "rm", "key", *WHOSE, "--version", "2")
    assert removed.output == "openai-acme/key of tenant acme: 1 version removed\n"
    refused(
        egress("secret", "rm", "key", *WHOSE), "unknown-secret: tenant acme has no secret openai-acme/key"
    )


def test_from_a_variable_or_a_file(
    egress: Egress, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_SECRET", CANARY)
    assert egress("secret", "set", "key", *WHOSE, "--from-env", "THE_SECRET").exit_code == 0
    assert broker.value == CANARY
    (tmp_path / "secret").write_bytes(b"canary-of-a-file\r\n")
    result = egress("--json", "secret", "rotate", "key", *WHOSE, "--from-file", str(tmp_path / "secret"))
    assert json.loads(result.stdout) == {"version": 2}
    assert broker.value == "canary-of-a-file"


def test_documents_of_other_kinds(egress: Egress, piped: Piped, broker: Broker) -> None:
    document = json.dumps({"username": "me", "password": CANARY})
    assert piped(document, "secret", "set", "login", *WHOSE, "--kind", "basic").exit_code == 0
    refused(piped(document, "secret", "set", "login", *WHOSE, "--kind", "aws"), "invalid-secret: ")
    refused(
        piped(document, "secret", "set", "login", *WHOSE, "--kind", "odd"),
        "invalid-secret: the kinds are: static, basic",
    )
    assert [info.kind for info in broker.vault.names()] == ["basic"]
    assert tuple(KINDS) == secrets.KINDS


@pytest.mark.parametrize(
    "words",
    [
        ("secret", "set", "key", *WHOSE, CANARY),
        ("secret", "set", *WHOSE, "key", CANARY, "more"),
        ("secret", "set", "key", *WHOSE, "--value", CANARY),
        ("secret", "set", "key", *WHOSE, f"--value={CANARY}"),
        ("secret", "set", "key", *WHOSE, "--from-env", "PATH", CANARY),
        ("secret", "rotate", "key", *WHOSE, CANARY),
        ("secret", "rotate", "key", *WHOSE, "--value", CANARY),
        ("vault", "unlock", CANARY),
        ("vault", "passphrase", CANARY),
    ],
)
@pytest.mark.parametrize("machine", [(), ("--json",)])
def test_a_secret_on_the_command_line_is_refused_with_what_to_do(
    egress: Egress, broker: Broker, words: tuple[str, ...], machine: tuple[str, ...]
) -> None:
    result = egress(*machine, *words)
    refused(result, "can be read by every user of this host", "use --from-env or --from-file", code=2)
    assert CANARY not in result.output
    assert broker.messages == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("secret", "set", "key", *WHOSE, "--from-env", CANARY), "give its name without `$`"),
        (("secret", "set", "key", *WHOSE, "--from-file", CANARY), "No such file or directory; give the path"),
        (("secret", "set", "key", *WHOSE, "--from-file", CANARY + "\0"), "give the path"),
        (("secret", "set", "key", *WHOSE, "--from-file", "/"), "Is a directory"),
        (("secret", "set", "key", *WHOSE, "--from-file", "/dev/zero"), "more than 32 KiB are no secret"),
        (("secret", "set", "key", *WHOSE, "--from-file", "/dev/null"), "the secret is empty"),
        (("secret", "set", "key", *WHOSE), "the secret is empty"),
        (
            ("secret", "set", CANARY + "=", *WHOSE, "--from-env", "PATH"),
            "invalid-name: that is no name of a secret",
        ),
        (("secret", "rotate", "key", *WHOSE, "--from-env", "PATH"), "unknown-secret"),
        (("secret", "set", "key", "--tenant", "nope", "--integration", "x"), "no tenant 'nope'"),
        (("secret", "list", "--tenant", CANARY + "="), "invalid-name"),
        (("vault", "unlock", "--from-file", CANARY), "No such file"),
        (("vault", "passphrase", "--from-file", "/dev/null"), "the passphrase is empty"),
    ],
)
def test_what_cannot_be_used_is_a_message_that_repeats_nothing(
    egress: Egress, broker: Broker, words: tuple[str, ...], said: str
) -> None:
    if words[0] == "vault":
        broker.vault.keyring.lock()
    result = egress(*words)
    refused(result, said)
    assert CANARY not in result.output
    assert broker.vault.names() == []


def test_two_places_are_one_too_many(egress: Egress, broker: Broker) -> None:
    words = ("secret", "set", "key", *WHOSE, "--from-env", "PATH", "--from-file", "/dev/null")
    refused(egress(*words), "give one of them", code=2)


def test_octets_that_are_no_text(piped: Piped, broker: Broker) -> None:
    refused(
        piped(b"canary\xff\xfe\xfd", "secret", "set", "key", *WHOSE),
        "invalid-secret: the secret is not UTF-8 text",
    )
    broker.vault.keyring.lock()
    refused(piped(b"canary\xff\xfe\n", "vault", "unlock"), "the passphrase is not UTF-8 text")


def test_the_vaults_passphrase(egress: Egress, piped: Piped, new: Broker, tmp_path: Path) -> None:
    result = egress("vault", "status")
    assert (result.exit_code, result.output) == (
        3,
        "new: no passphrase yet; choose one: egress vault unlock\n",
    )
    refused(piped("short\n", "vault", "unlock"), "wrong-passphrase: a new passphrase needs 12 characters")
    assert piped(PASSPHRASE + "\n", "vault", "unlock").output == "open: by its passphrase, 0 secrets\n"
    piped(CANARY, "secret", "set", "key", *WHOSE)
    new.vault.keyring.lock()
    result = egress("vault", "status")
    assert (result.exit_code, result.output) == (3, "locked: unlock it: egress vault unlock\n")
    refused(piped(CANARY, "secret", "set", "key", *WHOSE), "vault-locked: ", "egress vault unlock")
    refused(piped(OTHER, "vault", "unlock"), "wrong-passphrase: ")
    (tmp_path / "p").write_text(PASSPHRASE)
    result = egress("--json", "vault", "unlock", "--from-file", str(tmp_path / "p"))
    assert json.loads(result.stdout)["state"] == "open"
    assert egress("vault", "unlock").output == "open: by its passphrase, 1 secret\n"  # nothing is asked
    result = piped(OTHER, "vault", "passphrase")
    assert result.output.startswith("the vault has a new passphrase; 1 data key wrapped anew\n")
    assert "set vault.unlock to passphrase" in result.output  # these settings say key_file
    new.vault.keyring.lock()
    refused(piped(PASSPHRASE, "vault", "unlock"), "wrong-passphrase: ")
    assert json.loads(piped(OTHER, "--json", "vault", "unlock").stdout)["state"] == "open"
    assert egress("--json", "vault", "status").exit_code == 0
    assert "owls" not in repr(new.records)


def test_a_new_key_file(egress: Egress, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(egress("vault", "rekey"), "invalid-request: no key file opens this vault")
    monkeypatch.setattr(secrets, "ask_process", lambda *_: {"ok": True, "rewrapped": 2})
    assert egress("vault", "rekey").output.endswith(
        "/vault/kek is new: 2 data keys wrapped anew; back it up\n"
    )
    assert json.loads(egress("--json", "vault", "rekey").stdout) == {"rewrapped": 2}


def test_without_a_broker(egress: Egress, piped: Piped, tenant: Callable[..., Path]) -> None:
    tenant("acme")
    for result in (
        piped(CANARY, "secret", "set", "key", *WHOSE),
        egress("secret", "list"),
        egress("vault", "status"),
        egress("vault", "unlock"),
    ):
        refused(result, "broker: not running; start it: sudo egress up")


@pytest.mark.parametrize("words", [("secret", "list"), ("vault", "status"), ("secret", "rm", "key", *WHOSE)])
def test_root_alone(settings_file: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = click.testing.CliRunner().invoke(
        cli, ["--settings", str(settings_file), *words], prog_name="egress"
    )
    refused(result, "needs root; run: sudo egress")


def test_both_sides_have_the_same_bound() -> None:
    assert secrets.MAX_VALUE == MAX_VALUE


# --- a terminal ---------------------------------------------------------------------------------------------


def serve(settings: Settings, answers: list[ipc.Message], heard: list[ipc.Message]) -> threading.Thread:
    """A broker that gives these answers, one a connection."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(settings.control_socket("broker")))
    listening.listen()
    listening.settimeout(60)

    def run() -> None:
        with listening:
            for answer in answers:
                connection, _ = listening.accept()
                with connection, connection.makefile("rb") as lines:
                    heard.append(json.loads(lines.readline()))
                    connection.sendall(json.dumps(answer).encode() + b"\n")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def typed(settings_file: Path, arguments: tuple[str, ...], dialogue: list[tuple[bytes, bytes]]) -> bytes:
    """Everything that a terminal showed of a command to which this was typed, each after its prompt."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "appliance.cli.main", "--settings", str(settings_file), *arguments]
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        for prompt, line in dialogue:
            while prompt not in shown.rpartition(b"\n")[2]:
                shown += os.read(ours, 1024)
            os.write(ours, line + b"\n")
            shown += os.read(ours, 1024)
        while True:
            try:
                chunk = os.read(ours, 1024)
            except OSError:  # EIO: the other side is closed
                break
            shown += chunk
    finally:
        process.wait(timeout=60)
        os.close(ours)
    return shown


@pytest.mark.skipif(os.geteuid() != 0, reason="the command asks for root")
def test_at_a_terminal_nothing_is_echoed(
    settings: Settings, settings_file: Path, tenant: Callable[..., Path]
) -> None:
    tenant("acme")
    heard: list[ipc.Message] = []
    thread = serve(settings, [{"ok": True, "version": 1}], heard)
    shown = typed(settings_file, ("secret", "set", "key", *WHOSE), [(b"Secret: ", CANARY.encode())])
    thread.join()
    assert heard[0]["op"] == "secret-set"
    assert b"version 1" in shown
    assert CANARY.encode() not in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="the command asks for root")
def test_a_new_passphrase_is_asked_for_twice(settings: Settings, settings_file: Path) -> None:
    heard: list[ipc.Message] = []
    opened = {"ok": True, "state": "open", "source": "passphrase", "secrets": 0}
    thread = serve(settings, [{"ok": True, "state": "new"}, opened], heard)
    prompt, again = b"New passphrase of the vault: ", b"Repeat for confirmation: "
    word = PASSPHRASE.encode()
    shown = typed(
        settings_file,
        ("vault", "unlock"),
        [(prompt, word), (again, b"typed wrongly"), (prompt, word), (again, word)],
    )
    thread.join()
    assert heard[1] == {"op": "vault-unlock", "passphrase": PASSPHRASE, "new": True}
    assert b"open" in shown
    assert b"owls" not in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="the command asks for root")
def test_a_document_cannot_be_typed(settings_file: Path, tenant: Callable[..., Path]) -> None:
    tenant("acme")
    shown = typed(settings_file, ("secret", "set", "key", *WHOSE, "--kind", "basic"), [])
    assert b"is a JSON document; pipe it in or use --from-file" in shown.replace(b"\r\n", b"")


def test_the_vault_is_locked_and_says_what_opens_it(egress: Egress, broker: Broker) -> None:
    result = egress("vault", "lock")
    assert (
        result.output
        == "the vault is locked\nthe next start of the appliance opens it again: sudo egress up\n"
    )
    assert json.loads(egress("--json", "vault", "lock").stdout)["state"] == "locked"
    assert egress("vault", "status").exit_code == 3


def test_a_secret_that_is_kept_already_is_not_stored_again(piped: Piped, broker: Broker) -> None:
    words = ("--json", "secret", "set", "key", *WHOSE, "--if-changed")
    first, second, other = (
        json.loads(piped(text, *words).stdout) for text in (CANARY, CANARY + "\n", "x" * 20)
    )
    assert first == {"version": 1, "changed": True}
    assert second == {"version": 1, "changed": False}
    assert other == {"version": 2, "changed": True}
    assert broker.value == "x" * 20
    told = piped("x" * 20, "secret", "set", "key", *WHOSE, "--if-changed")
    assert told.output == "openai-acme/key of tenant acme: version 2, as it was\n"
    assert CANARY not in repr(broker.records)
