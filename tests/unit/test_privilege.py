"""Judging /proc/PID/status; and, as root, that nothing is left and nothing comes back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.privilege import (
    CAPABILITIES,
    NICE,
    NICE_BEHIND,
    Identity,
    PrivilegeError,
    differences,
    limit_descriptors,
    take_precedence,
)

NONE, ADMIN = "0" * 16, f"{1 << 12:016x}"


def status(uid="64101", groups="", nnp="1", **sets):
    lines = [f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", f"Gid:\t{uid}\t{uid}\t{uid}\t{uid}", f"Groups:\t{groups} "]
    lines += [f"{key}:\t{sets.get(key, NONE)}" for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    return "\n".join([*lines, f"NoNewPrivs:\t{nnp}", ""])


def test_numbers_are_the_kernels():
    assert CAPABILITIES["CAP_NET_ADMIN"] == 12
    assert CAPABILITIES["CAP_SYS_ADMIN"] == 21
    assert CAPABILITIES["CAP_CHECKPOINT_RESTORE"] == 40


def test_a_process_without_anything_is_as_it_should_be():
    assert differences(Identity(64101), status()) == ()


@pytest.mark.parametrize("key", ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
def test_a_capability_left_in_any_set_is_named(key):
    (problem,) = differences(Identity(64101), status(**{key: ADMIN}))
    assert problem.startswith(f"{key} is ")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (status(uid="0"), {"Uid", "Gid"}),
        (status(groups="0 27"), {"Groups"}),
        (status(nnp="0"), {"NoNewPrivs"}),
        ("", {"Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}),
    ],
)
def test_what_is_not_as_it_should_be_is_named(text, names):
    assert {problem.split()[0] for problem in differences(Identity(64101), text)} == names


def test_a_group_that_the_services_share_is_the_only_one_beside_their_own():
    service = Identity(64101, groups=frozenset({64100}))
    assert differences(service, status(groups="64100")) == ()
    assert differences(service, status()) != ()
    assert differences(service, status(groups="27 64100")) != ()


def test_root_may_keep_what_it_was_given_and_no_more():
    netd = Identity(0, frozenset({"CAP_NET_ADMIN"}))
    kept = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd"), ADMIN)
    assert differences(netd, status(uid="0", **kept)) == ()
    assert differences(netd, status(uid="0", **{**kept, "CapBnd": f"{1 << 21:016x}"})) != ()
    assert differences(netd, status(uid="0", **{**kept, "CapAmb": ADMIN})) != ()


def test_a_capability_is_for_root_alone():
    """Every other uid runs without any, whatever the table of processes says."""
    assert differences(Identity(64101, frozenset({"CAP_NET_ADMIN"})), status(CapEff=ADMIN)) != ()


CHILD = r"""
import ctypes, os, resource, socket
from appliance.privilege import Identity, become, owning_files_as
with owning_files_as(64101):
    kept = socket.socket()
    own = os.fstat(kept.fileno()).st_uid
assert own == 64101, own
again = socket.socket()
assert os.fstat(again.fileno()).st_uid == 0
become(Identity(64101))
attempts = {
    "setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "groups": lambda: os.setgroups([0]),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "transparent": lambda: socket.socket().setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1),
    "shadow": lambda: open("/etc/shadow"),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError:
        continue
    raise SystemExit(f"{name} is still possible")
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0, "dumpable"
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
print("nothing left")
"""


def test_nothing_is_left_and_nothing_comes_back():
    assert os.geteuid() == 0, "the test suite runs as root: this test gives privileges up"
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "nothing left\n", done.stderr


def test_becoming_another_without_the_right_is_an_error():
    script = (
        "import os\nfrom appliance.privilege import *\nbecome(Identity(64101))\n"
        "try:\n    become(Identity(64102))\nexcept PrivilegeError as e:\n    print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("cannot become uid 64102")
    assert issubclass(PrivilegeError, Exception)


def test_the_limit_of_descriptors_is_lowered_to_what_is_allowed():
    script = (
        "import resource\nfrom appliance.privilege import *\nresource.setrlimit(resource.RLIMIT_NOFILE, (300, 400))\n"
        "become(Identity(64101))\nprint(limit_descriptors(65536), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "400 (400, 400)\n"
    assert callable(limit_descriptors)


def test_a_host_that_grants_no_precedence_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []

    def refuse(*what: int) -> None:
        asked.append(what)
        raise PermissionError

    monkeypatch.setattr("os.setsid", lambda: None)
    monkeypatch.setattr("os.setpriority", refuse)
    take_precedence()
    assert asked == [(os.PRIO_PROCESS, 0, NICE)]


def test_precedence_is_asked_for_the_process_and_its_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    led: list[bool] = []
    monkeypatch.setattr("os.setsid", lambda: led.append(True))
    monkeypatch.setattr("os.setpriority", lambda *_what: None)
    monkeypatch.setattr("appliance.privilege.AUTOGROUP", tmp_path / "autogroup")
    take_precedence(NICE_BEHIND)
    assert led, "it would weigh those among whom it was started"
    assert (tmp_path / "autogroup").read_text() == str(NICE_BEHIND)
