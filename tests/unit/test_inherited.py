"""sd_listen_fds(3) from the receiving side; a child process so that descriptors 3… are really free."""

import os
import subprocess
import sys

import pytest

from appliance.inherited import InheritanceError, inherited_sockets

CHILD = r"""
import os, socket, sys
first, second = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
first.bind(("127.0.0.1", 0)); first.listen()
for wanted, source in ((3, os.dup(first.fileno())), (4, os.dup(second.fileno()))):
    os.dup2(os.dup(source), wanted + 100)
os.dup2(103, 3); os.dup2(104, 4)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="dns-tcp:dns-udp")
from appliance.inherited import inherited_sockets
found = inherited_sockets()
tcp, udp = found["dns-tcp"], found["dns-udp"]
print(sorted(found), tcp.type.name, udp.type.name, tcp.getblocking(), os.get_inheritable(3), "LISTEN_PID" in os.environ)
first.detach(); second.detach()
os._exit(0) if sys.stdout.flush() is None else None
"""


def test_names_kinds_and_flags_of_what_was_passed():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split("\n")[0] == "['dns-tcp', 'dns-udp'] SOCK_STREAM SOCK_DGRAM False False False"


def test_another_pid_gets_nothing_and_the_variables_are_gone(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "control")
    assert inherited_sockets() == {}
    assert "LISTEN_FDS" not in os.environ


def test_what_is_needed_and_missing_is_named_with_the_mend():
    missing = "no tenants and no control socket was passed; start it with the launcher (`egress up`)"
    with pytest.raises(InheritanceError) as refused:
        inherited_sockets("tenants", "control")
    assert str(refused.value) == missing


@pytest.mark.parametrize(
    ("count", "names"),
    [("2", "control"), ("-1", "control"), ("x", "control"), ("2", "control:control"), ("1", "")],
)
def test_malformed_hand_over_is_an_error(monkeypatch, count, names):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_FDNAMES", names)
    with pytest.raises(InheritanceError):
        inherited_sockets()


def test_a_descriptor_that_is_no_socket_is_named(monkeypatch, tmp_path):
    import appliance.inherited as module

    with (tmp_path / "plain").open("w") as plain:
        monkeypatch.setattr(module, "FIRST_DESCRIPTOR", plain.fileno())
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_FDNAMES", "control")
        with pytest.raises(InheritanceError, match="control"):
            inherited_sockets()


EXECUTED = r"""
import os, socket, sys
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
os.dup2(listener.fileno(), 3); os.set_inheritable(3, True)
program = (
    "import twisted.internet.endpoints; from appliance.inherited import inherited_sockets; "
    "from appliance.privilege import forbid_dumps; forbid_dumps(); "
    "print(sorted(inherited_sockets())); print(inherited_sockets()); import os; os._exit(0)"
)
environment = {**os.environ, "PYTHONUNBUFFERED": "1", "LISTEN_PID": str(os.getpid()),
               "LISTEN_FDS": "1", "LISTEN_FDNAMES": "tenants"}
os.setgroups([]); os.setresgid(64101, 64101, 64101); os.setresuid(64101, 64101, 64101)
os.execve(sys.executable, [sys.executable, "-c", program], environment)
"""


def test_an_import_that_empties_the_environment_takes_nothing_away():
    done = subprocess.run(
        [sys.executable, "-c", EXECUTED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["['tenants']", "{}"]
