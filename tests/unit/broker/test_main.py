"""appliance.broker.main: the real process, with a socket handed over as the launcher does it."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import cast

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from appliance import ipc
from appliance.audit import place
from appliance.audit.verify import verify
from appliance.broker.database_threads import DatabaseThreads
from appliance.broker.identities import open_identities
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.main import Calling, _of_the_vault, log_observer
from appliance.broker.vault.opening import open_vault
from appliance.control import Operation, Peer
from appliance.peer import Credentials
from appliance.policy.bound import CompiledAccount
from appliance.refusal import Refusal
from appliance.settings import Settings
from appliance.tls.authority import new_key, signing_request
from tests.unit.broker.calls.support import ATTESTED
from tests.unit.broker.identity.peers import make_root
from tests.unit.gateway.support import Log

HAND_OVER = (
    "import fcntl, os, sys; os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='5',"
    " LISTEN_FDNAMES='control:calls:dials:workloads:callers');"
    "given = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 64) for one in sys.argv[1:]];"
    "[os.dup2(one, 3 + at, inheritable=True) for at, one in enumerate(given)];"
    "os.execv(sys.executable, [sys.executable, '-m', 'appliance.broker.main'])"
)


class Appliance:
    """An instance's directories, and a broker process in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.log = root / "log"
        self.state.mkdir()
        self.log.mkdir()
        self.socket = root / "broker.sock"
        self.settings = root / "egress.yaml"
        self.settings.write_text(
            f"instance: lab\nstate_dir: {self.state}\nlog_dir: {self.log}\nrun_dir: {root}\n"
            f"uids: {{gateway: {os.getuid() or 64101}}}\n"
        )
        self.environment = {"EGRESS_SETTINGS": str(self.settings), "PATH": os.environ["PATH"]}

    def start(self) -> subprocess.Popen[str]:
        with ExitStack() as stack:
            names = ("broker", "broker-calls", "broker-dials", "broker-workloads", "broker-callers")
            descriptors = [self.listening(stack, name) for name in names]
            return subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, *map(str, descriptors)],
                pass_fds=descriptors, env=self.environment, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip

    def listening(self, stack: ExitStack, name: str) -> int:
        path = self.root / f"{name}.sock"
        path.unlink(missing_ok=True)
        made = stack.enter_context(socket.socket(socket.AF_UNIX))
        made.bind(str(path))
        made.listen()
        return made.fileno()

    def ask(self, **message: object) -> ipc.Message:
        return ipc.ask(str(self.socket), message, timeout=30)


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    return Appliance(tmp_path)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    return process.communicate(timeout=30)[1]


def test_it_signs_records_and_ends_cleanly_and_starts_again_with_the_same_root(appliance: Appliance) -> None:
    roots = set()
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = appliance.start()
        csr = signing_request(new_key()).public_bytes(Encoding.PEM).decode()
        answer = appliance.ask(op="sign-intermediate", csr=csr)
        assert answer["ok"] is True
        roots.add(x509.load_pem_x509_certificate(answer["root"].encode()))
        assert appliance.ask(op="status")["ready"] is True
        errors = end(process, number)
        assert "Traceback" not in errors
    assert process.returncode == 0
    assert len(roots) == 1
    report = verify(place.chain_files(appliance.log / "audit", "broker"))
    assert (report.intact, report.records) == (True, 5)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda a: (a.state / "ca" / "root.key").chmod(0o644), "run: chmod 600"),
        (lambda a: a.settings.write_text("nonsense: true\n"), "nonsense"),
        (
            lambda a: (a.log / "audit" / "broker" / "broker.jsonl").write_text("x\n" * 9),
            "egress log --verify",
        ),
        (lambda a: (a.state / "vault" / "kek").write_text("0" * 64), "does not belong to this database"),
        (lambda a: (a.state / "vault" / "kek").unlink(), "restore it from a backup"),
        (lambda a: (a.state / "vault" / "broker.db").write_bytes(b"x" * 4096), "restore the file"),
    ],
    ids=["loose-key", "bad-settings", "damaged-audit", "wrong-kek", "no-kek", "damaged-vault"],
)
def test_what_is_wrong_is_one_message_and_exit_status_1(
    appliance: Appliance, spoil: object, expected: str
) -> None:
    process = appliance.start()
    assert appliance.ask(op="status")["ok"] is True
    end(process)
    spoil(appliance)  # type: ignore[operator]  # a function of the appliance
    process = appliance.start()
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert expected in errors
    assert errors.startswith("egress-broker: ")
    assert "Traceback" not in errors


SECRET = {"tenant": "acme", "integration": "openai-acme", "name": "key"}
CANARY = "canary-9c1f55e7aa"


def test_000_37_a_secret_survives_the_process_and_stands_in_no_file(appliance: Appliance) -> None:
    process = appliance.start()
    value = base64.b64encode(CANARY.encode()).decode()
    answer = appliance.ask(op="secret-set", **SECRET, kind="static", value=value)
    assert answer == {"ok": True, "version": 1}
    running = files(appliance.root)
    end(process, signal.SIGKILL)
    process = appliance.start()
    assert appliance.ask(op="vault-status")["state"] == "open"
    (listed,) = appliance.ask(op="secret-list")["secrets"]
    assert (listed["name"], listed["version"]) == ("key", 1)
    errors = end(process)
    stopped = files(appliance.root)
    assert {"broker.db", "kek"} <= set(stopped)
    for octets in (*running.values(), *stopped.values(), errors.encode()):
        for form in (CANARY.encode(), value.encode(), CANARY.encode().hex().encode()):
            assert form not in octets


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_locked_vault_says_so_and_is_unlocked_over_the_socket(appliance: Appliance) -> None:
    appliance.settings.write_text(appliance.settings.read_text() + "vault: {unlock: passphrase}\n")
    secret = {**SECRET, "kind": "static", "value": base64.b64encode(CANARY.encode()).decode()}
    process = appliance.start()
    assert appliance.ask(op="vault-unlock", passphrase="seven owls read maps", new=True)["state"] == "open"
    assert appliance.ask(op="secret-set", **secret)["ok"] is True
    end(process)
    process = appliance.start()
    assert appliance.ask(op="status")["ready"] is True
    assert appliance.ask(op="vault-status")["state"] == "locked"
    assert appliance.ask(op="secret-set", **secret)["error"] == "vault-locked"
    assert appliance.ask(op="vault-unlock", passphrase="nine owls read maps")["error"] == "wrong-passphrase"
    assert appliance.ask(op="vault-unlock", passphrase="seven owls read maps")["state"] == "open"
    assert appliance.ask(op="secret-set", **secret)["version"] == 2
    errors = end(process)
    assert "the vault is locked; unlock it: egress vault unlock" in errors
    assert "owls" not in errors


def test_without_a_socket_it_says_what_starts_it(appliance: Appliance) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.broker.main"],
        env=appliance.environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        "no control and no calls and no dials and no workloads and no callers socket was passed"
        in done.stderr
    )
    assert not (appliance.state / "ca").exists()


def test_004_02_what_looks_like_a_credential_does_not_stand_in_the_log() -> None:
    stream, token = StringIO(), "ghp_" + "a1B2" * 9
    observer = log_observer(stream)
    failure = Failure(ValueError(token))
    observer({"log_format": "saw {it}", "it": token, "log_failure": failure, "log_time": 0.0})
    assert "ValueError" in stream.getvalue()
    assert token not in stream.getvalue()


def test_the_operator_asks_about_workloads(appliance: Appliance) -> None:
    process = appliance.start()
    assert appliance.ask(op="handle-list") == {"ok": True, "handles": []}
    whom = {"tenant": "acme", "workload": "c0ffee"}
    assert appliance.ask(op="workload-disable", **whom)["ok"] is True
    assert appliance.ask(op="workload-enable", **whom)["was_disabled"] is True
    assert appliance.ask(op="workload-disable", tenant="acme")["error"] == "invalid-request"
    assert "Traceback" not in end(process)


def test_the_operator_has_the_policies_read_and_hears_which_are_in_force(appliance: Appliance) -> None:
    appliance.settings.write_text(appliance.settings.read_text() + f"config_dir: {appliance.root}/etc\n")
    (appliance.root / "etc" / "tenants").mkdir(parents=True)
    document = appliance.root / "etc" / "tenants" / "acme.yaml"
    process = appliance.start()
    before = appliance.ask(op="reload")
    document.write_text("profile: allowlist\n")
    after = appliance.ask(op="reload")
    assert before["ok"] is after["ok"] is True
    assert before["policy"] != after["policy"]
    document.write_text("profile: nonsense\n")
    refused = appliance.ask(op="reload")
    assert refused["error"] == "policy-invalid"
    assert "acme.yaml:1:" in str(refused["detail"])
    assert "Traceback" not in end(process)


def test_002_07_002_22_a_process_of_the_host_with_a_key_is_known_and_without_one_is_nobody(
    appliance: Appliance,
) -> None:
    process = appliance.start()
    made = appliance.ask(op="caller-add", tenant="acme", actor="ci", scopes=["openai:write"])
    refused, known, revoked = b"", b"", b""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(appliance.root / "broker-callers.sock"))
        refused = executed(caller)
        known = executed(caller, str(made["key"]))
        assert appliance.ask(op="caller-revoke", id=made["id"])["was_active"] is True
        revoked = executed(caller, str(made["key"]))
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert known.startswith(b"HTTP/1.1 403 ")
    assert b"account-not-bound" in known
    assert b"api_key_revoked" in revoked
    errors = end(process)
    assert "Traceback" not in errors
    secret = str(made["key"])[21:]
    assert secret not in errors
    assert not any(secret.encode() in octets for octets in files(appliance.root).values())


def executed(caller: socket.socket, key: str | None = None) -> bytes:
    """The answer to a call, in one piece as the broker writes it."""
    body = b'{"account":"x","url":"https://api.example.com/","method":"GET","headers":{},"body":null}'
    proof = "" if key is None else f"Authorization: Bearer {key}\r\n"
    head = (
        "POST /execute HTTP/1.1\r\nHost: broker.egress.internal\r\nContent-Type: application/json\r\n"
        f"{proof}Content-Length: {len(body)}\r\n\r\n"
    )
    caller.sendall(head.encode() + body)
    return caller.recv(65536)


def test_004_40_what_looks_like_a_credential_stands_in_no_record(appliance: Appliance) -> None:
    token = "ghp_" + "a1B2" * 9
    process = appliance.start()
    assert appliance.ask(op="workload-disable", tenant="acme", workload=token)["ok"] is True
    end(process)
    (file,) = (appliance.log / "audit" / "broker").glob("*.jsonl")
    assert "workload-disabled" in file.read_text()
    assert "[scrubbed:github-token]" in file.read_text()
    assert token not in file.read_text()


class UnderWay:
    """A call that only knows when it was withdrawn."""

    def __init__(self, account: CompiledAccount) -> None:
        self.attestation, self.account = ATTESTED, account
        self.withdrawn: list[str] = []

    def withdraw(self, refusal: Refusal) -> None:
        self.withdrawn.append(refusal.reason)


@pytest.fixture
def calling(tmp_path: Path) -> Iterator[tuple[Calling, Mapping[str, Operation]]]:
    """The process's parts without a process; the vault's operations."""
    settings = Settings(
        config_dir=tmp_path,
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "log",
        upstream_ca=Path(certifi.where()),
        workload_addresses=("172.18.0.0/16",),
    )
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.yaml").write_text("profile: read-only-web\n")
    vault, in_thread = open_vault(settings), DatabaseThreads(MemoryReactorClock())
    identities = open_identities(settings.vault_url, make_root(), lambda: datetime.now(UTC))
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(socket.socket(socket.AF_UNIX))
            for name in ("calls", "dials", "workloads", "callers")
        }
        made = Calling(
            MemoryReactorClock(), settings, sockets, vault,
            identities=identities, audit=Log(), in_thread=in_thread,
        )  # fmt: skip
        in_thread._reactor = SimpleNamespace(callFromThread=lambda act, *arguments: act(*arguments))
        in_thread.start()
        yield made, _of_the_vault(vault, Log(), settings, made.withdrawing, in_thread)
        in_thread.stop()
    vault.close()
    identities.close()


def test_what_the_operator_takes_away_ends_what_is_under_way_with_it(
    calling: tuple[Calling, Mapping[str, Operation]], tmp_path: Path
) -> None:
    made, vault = calling
    accounts = tmp_path / "accounts.yaml"
    accounts.write_text("accounts: [{name: crm, integration: github, secret: key, tenants: [acme]}]\n")
    store = made._reloads.store
    account = store.reload().for_tenant("acme").account("crm")
    assert account is not None, store.last_error
    under_way = UnderWay(account)
    made._calls._under_way.add(under_way)
    whose = {"tenant": "acme", "integration": account.integration, "name": "key"}
    peer = cast("Peer", SimpleNamespace(credentials=Credentials(7, 0, 0)))
    value = base64.b64encode(CANARY.encode()).decode()
    for operation in ("secret-set", "secret-remove"):
        finished, answered = Event(), []
        answer = vault[operation].answer({**whose, "kind": "static", "value": value}, peer)
        done = Deferred.fromCoroutine(answer)  # type: ignore[arg-type]  # these answer later
        done.addBoth(answered.append).addBoth(lambda _, finished=finished: finished.set())
        assert finished.wait(30)
        assert isinstance(answered[0], dict), answered
    assert under_way.withdrawn == ["account-withdrawn"]
    accounts.write_text("{}\n")
    assert store.reload().for_tenant("acme").account("crm") is None, store.last_error
    assert under_way.withdrawn == ["account-withdrawn"] * 2


def test_000_07_the_operators_list_is_asked_wherever_a_workload_comes(
    calling: tuple[Calling, Mapping[str, Operation]],
) -> None:
    made, _ = calling
    listed = AddressAllowlist.parse(["172.18.0.0/16"])
    assert made._interface._operations.addresses == listed
    assert made._calls.secrets.is_session.__self__._addresses == listed  # type: ignore[attr-defined]
