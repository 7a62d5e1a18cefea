"""The units under a systemd of their own: first process of new namespaces, with no unit of the host's.

Its files are in memory and its control groups below one that is removed. It takes from the machine time alone.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.processes import processes
from appliance.settings import Settings, load
from appliance.units.render import Installed, files, service_name, target_name

pytestmark = pytest.mark.system

SYSTEMD = Path("/lib/systemd/systemd")
ROOT = Path(__file__).resolve().parents[2]
"""Which a unit with a /tmp of its own does not see where it is below that."""
WITHIN = 60.0  # seconds for all to be ready
STUBS = (
    "sysinit",
    "basic",
    "shutdown",
    "multi-user",
    "umount",
    "exit",
    "slices",
    "sockets",
    "timers",
    "paths",
)
"""What units depend on by default, with nothing in it."""

SETTINGS = """\
resolver: {servers: [{address: 192.0.2.1}]}
vault: {unlock: passphrase_file, passphrase_file: /run/credentials/egress-broker.service/words}
"""

FIRST = r"""
set -e
mount --make-rprivate /
mount -t cgroup2 none {groups}
mkdir {groups}/egress-units-$$ && echo $$ >{groups}/egress-units-$$/cgroup.procs
exec unshare --cgroup --uts --ipc --net --pid --fork --mount --kill-child bash -c '
    set -e
    mount --make-rprivate /
    mount -t proc proc /proc
    umount {groups}
    mount -t cgroup2 none /sys/fs/cgroup
    for place in /run /var/log /var/lib; do mount -t tmpfs none $place; done
    mkdir /run/netns /run/etc
    cp -a /etc/passwd /etc/group /etc/ssl /etc/machine-id /etc/nsswitch.conf /etc/ld.so.cache /run/etc
    {users}
    cp {settings} /run/etc/egress.yaml
    mkdir -m 700 /run/etc/credstore && echo some words at random >/run/etc/credstore/words
    mount --bind /run/etc /etc
    mount --bind /proc/sys /proc/sys && mount --bind /proc/sys/net /proc/sys/net && mount -o remount,ro,bind /proc/sys
    ip link set lo up
    mount --make-rshared /
    export container=other SYSTEMD_UNIT_PATH={units} SYSTEMD_PROC_CMDLINE=
    exec {systemd} --system --unit=egress.target --log-target=null --show-status=false --default-standard-output=null
'
"""


class Host:
    """What stands for a host with systemd."""

    def __init__(self, pid: int, settings: Settings) -> None:
        self._pid = pid
        self.settings = settings

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        enter = ("nsenter", "-t", str(self._pid), "-m", "-n", "-p", "-u", "-i", "-C", *words)
        return subprocess.run(
            enter, capture_output=True, text=True, timeout=30, check=False, start_new_session=True
        )

    def shows(self, process: str, what: str) -> str:
        unit = service_name(self.settings, process)
        return self.run("systemctl", "show", f"--property={what}", "--value", unit).stdout.strip()

    def egress(self, *words: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).parent / "egress")
        return self.run(program, "--settings", "/etc/egress.yaml", *words)

    def all_active(self) -> bool:
        return {self.shows(process.name, "ActiveState") for process in processes(self.settings)} == {"active"}


def until(holds: Callable[[], bool], within: float = WITHIN) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


def first_process(parent: int) -> int:
    """The systemd that `unshare` below `parent` has become the parent of; 0 while there is none."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    for child in map(int, children):
        if Path(f"/proc/{child}/exe").readlink().name == "systemd":
            return child
    return 0


def left_groups(groups: Path, child: int) -> bool:
    """Remove the control groups; whether one is left, whose processes are still ending."""
    below = groups / f"egress-units-{child}"
    script = f"mount -t cgroup2 none {groups} && find {below} -depth -type d -exec rmdir {{}} +"
    subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, timeout=10, check=False)
    gone = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"mount -t cgroup2 none {groups} && test ! -e {below}"],
        timeout=10,
        check=False,
    )
    return gone.returncode != 0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    assert SYSTEMD.exists(), "./bootstrap installs the package systemd"
    place = tmp_path_factory.mktemp("systemd")
    file = place / "egress.yaml"
    file.write_text(SETTINGS, encoding="utf-8")
    settings = load(file)
    units, groups = place / "units", place / "groups"
    groups.mkdir()
    installed = Installed(Path(sys.executable), Path("/etc/egress.yaml"), plain_credential=True)
    for entry in files(settings, installed):
        if entry.path.parts[0] == "systemd":
            target = units.joinpath(*entry.path.parts[2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(entry.text, encoding="utf-8")
    if ROOT.is_relative_to("/tmp") or ROOT.is_relative_to("/var/tmp"):
        for unit in tuple(units.glob("*.service")):
            of_unit = units / f"{unit.name}.d"
            of_unit.mkdir()
            (of_unit / "tree.conf").write_text("[Service]\nPrivateTmp=no\n", encoding="utf-8")
    for name in STUBS:
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n", encoding="utf-8")
    uids = {process.uid for process in processes(settings) if process.uid}
    users = "\n".join(
        f"echo egress-{uid}:x:{uid}:{uid}::/:/bin/false >>/run/etc/passwd; echo egress-{uid}:x:{uid}: >>/run/etc/group"
        for uid in sorted(uids)
    )
    script = FIRST.format(groups=groups, users=users, settings=file, units=units, systemd=SYSTEMD)
    with subprocess.Popen(["unshare", "--mount", "bash", "-c", script], stderr=subprocess.PIPE) as child:
        try:
            until(lambda: child.poll() is not None or first_process(child.pid) != 0, 20)
            if child.poll() is not None:
                assert child.stderr is not None
                pytest.fail(f"namespaces for a systemd cannot be made here: {child.stderr.read()[-200:]!r}")
            found = Host(first_process(child.pid), settings)
            until(lambda: found.run("systemctl", "is-active", target_name(settings)).returncode == 0)
            yield found
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
            until(lambda: not left_groups(groups, child.pid), 10)


def test_every_unit_comes_up_and_says_that_it_is_ready(host: Host) -> None:
    until(host.all_active)
    egress = host.egress("status")
    assert egress.returncode == 0, egress.stdout + egress.stderr
    assert "by=egress.target" in egress.stdout


@pytest.mark.parametrize("name", ["broker", "netd", "resolver", "gateway-0", "squid"])
def test_a_process_holds_what_the_table_says_and_no_more(host: Host, name: str) -> None:
    (process,) = [process for process in processes(host.settings) if process.name == name]
    status = host.run("cat", f"/proc/{host.shows(name, 'MainPID')}/status").stdout
    fields = {line.split(":")[0]: line.split()[1:] for line in status.splitlines() if ":" in line}
    assert fields["Uid"] == [str(process.uid)] * 4
    assert fields["NoNewPrivs"] == ["1"]
    assert fields["Seccomp"] == ["2"], "filtered"
    if process.uid:
        assert fields["Groups"] == [str(host.settings.uids.group)]
        assert {int(fields[key][0], 16) for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")} == {0}


def test_the_vault_is_open_by_what_systemd_gave_the_broker_alone(host: Host) -> None:
    """Read in the broker's own mounts: nobody but root and its uid may, and nobody may write."""
    vault = host.egress("vault", "status")
    assert vault.returncode == 0, vault.stdout + vault.stderr
    assert "open" in vault.stdout
    given = "/run/credentials/egress-broker.service/words"
    inside = ("nsenter", "-t", host.shows("broker", "MainPID"), "-m", "--")
    assert host.run(*inside, "cat", given).stdout == "some words at random\n"
    for process in processes(host.settings):
        if process.uid:
            of = ("setpriv", f"--reuid={process.uid}", f"--regid={process.uid}", "--clear-groups")
            read = host.run(*inside, *of, "cat", given).returncode == 0
            assert read == (process.name == "broker"), process.name


def test_one_process_is_started_anew_and_the_others_notice_nothing(host: Host) -> None:
    for name in ("netd", "gateway-0"):
        before = {process.name: host.shows(process.name, "MainPID") for process in processes(host.settings)}
        assert host.run("systemctl", "restart", service_name(host.settings, name)).returncode == 0
        after = {process.name: host.shows(process.name, "MainPID") for process in processes(host.settings)}
        assert [process for process in before if before[process] != after[process]] == [name]
        assert host.shows(name, "ActiveState") == "active", "it was ready when systemctl returned"


def test_netd_reads_the_operators_exceptions_anew_and_goes_on(host: Host) -> None:
    before = host.shows("netd", "MainPID")
    assert host.run("systemctl", "reload", service_name(host.settings, "netd")).returncode == 0
    assert host.shows("netd", "MainPID") == before
    assert host.all_active()


@pytest.mark.parametrize("name", ["broker", "netd", "resolver", "gateway-0", "squid"])
def test_a_process_that_is_killed_comes_back(host: Host, name: str) -> None:
    """With the socket that it left behind, by a launcher that may not override permissions."""
    before = host.shows(name, "MainPID")
    assert int(before) > 1, "the unit has no process"
    host.run("kill", "-KILL", before)
    until(lambda: host.shows(name, "MainPID") not in {"0", before} and host.all_active())


def test_the_command_that_down_tells_ends_every_process_before_it_returns(host: Host) -> None:
    """`systemctl stop` of the target alone returns when the target has gone, and that is at once."""
    until(host.all_active)
    refused = host.egress("down")
    told = re.search(r"systemctl stop [^,]*", refused.stderr)
    assert refused.returncode == 1
    assert told, refused.stderr
    assert host.run("sh", "-c", told[0]).returncode == 0
    states = {process.name: host.shows(process.name, "ActiveState") for process in processes(host.settings)}
    assert set(states.values()) == {"inactive"}, states
    assert host.egress("down").returncode == 0
    assert not host.run("sh", "-c", "ls /run/netns").stdout
