"""The launcher, as a process: what the started program holds, and that netd comes up, serves and ends clean."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance import ipc
from appliance.privilege import NICE, NICE_BEHIND

pytestmark = pytest.mark.system

PROBE = r"""
import json, os, socket, sys, time
from pathlib import Path
from appliance.inherited import inherited_sockets
found = inherited_sockets()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
state = {
    "sockets": {name: [s.type.name, str(s.getsockname())] for name, s in found.items()},
    "status": {k: status[k].split() for k in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")},
    "environment": sorted(os.environ), "cwd": os.getcwd(), "umask": os.umask(0), "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "leads_a_session": os.getsid(0) == os.getpid(),
    "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd")),
    "namespace": os.stat("/proc/self/ns/net").st_ino,
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
}
print(json.dumps(state), flush=True)
dns = found.get("dns-udp")
if dns is not None:
    dns.setblocking(True)
    data, ancillary, _, sender = dns.recvmsg(2048, 256)
    asked = ancillary[0][2][8:12]
    dns.sendmsg([b"answer:" + data], [(socket.SOL_IP, 8, bytes(4) + asked + bytes(4))], 0, sender)
"""

LAUNCH = r"""
import sys
from dataclasses import replace
from netns import launch
from appliance import settings
launch.privilege.close_inherited()
plan = launch.prepare(settings.load(), sys.argv[1], {"PATH": "/usr/bin:/bin", "SECRET": "x"})
launch.launch(replace(plan, command=(sys.executable, "-I", "-c", sys.argv[2])))
"""


@pytest.fixture
def file(rig, tmp_path):
    """The rig's settings as a file, all paths below the test's own directory."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    document = rig.settings.model_dump(mode="json")
    for key in ("config_dir", "state_dir", "log_dir"):
        document[key] = str(tmp_path / key)
    document["docker"]["plugin_dir"] = str(tmp_path / "plugins")
    document["docker"]["socket"] = str(tmp_path / "docker.sock")
    document["resolver"]["servers"] = [{"address": "10.0.0.53"}]
    written = tmp_path / "egress.yaml"
    written.write_text(json.dumps(document))
    written.chmod(0o644)
    return written


def probe(file, name, **options):
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, name, PROBE],
        env={
            "EGRESS_SETTINGS": str(file),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "/nowhere",
            "SECRET": "x",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_an_unprivileged_process_holds_nothing_but_its_listeners(rig, kernel, file):
    rig.workers.close_sockets()
    network = rig.network()
    kernel.add_network(network)
    container = rig.container(kernel, network)
    leaked = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    with probe(file, "resolver", pass_fds=[leaked]) as child:
        os.close(leaked)
        line = child.stdout.readline()
        assert line, child.stderr.read()
        state = json.loads(line)
        uid = str(rig.settings.uids.resolver)
        assert state["status"]["Uid"] == state["status"]["Gid"] == [uid] * 4
        assert state["status"]["Groups"] == [str(rig.settings.uids.group)]
        assert {state["status"][key][0] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
            "0" * 16
        }
        assert state["status"]["NoNewPrivs"] == ["1"]
        assert sorted(state["sockets"]) == ["control", "dns-tcp", "dns-udp"]
        assert (
            state["environment"] == ["EGRESS_SETTINGS", "LANG", "PATH"]
            or "SECRET" not in state["environment"]
        )
        assert state["cwd"] == "/"
        assert state["nice"] == NICE
        assert state["leads_a_session"]
        assert state["umask"] == 0o027
        assert [d for d in state["descriptors"] if d > 5] in (
            [],
            [6],
        )  # 6: the listing of the directory itself
        assert state["namespace"] == Path(f"/run/netns/{rig.settings.namespace}").stat().st_ino
        # The kernel's rule by owner takes the socket for the resolver's, though root opened it.
        assert container.udp("8.8.8.8", 53) == b"answer:ask"
        assert child.wait(10) == 0
    control = rig.settings.control_socket("resolver")
    assert (control.stat().st_uid, control.stat().st_mode & 0o777) == (rig.settings.uids.resolver, 0o660)
    assert control.stat().st_gid == rig.settings.uids.group
    audit = file.parent / "log_dir" / "audit" / "resolver"
    assert (audit.stat().st_uid, audit.stat().st_mode & 0o777) == (rig.settings.uids.resolver, 0o750)


def test_the_broker_has_no_network(rig, file):
    with probe(file, "broker") as child:
        line = child.stdout.readline()
        assert line, child.stderr.read()
        state = json.loads(line)
        assert sorted(state["sockets"]) == ["callers", "calls", "control", "dials", "workloads"]
        assert state["interfaces"] == ["lo"]
        assert state["namespace"] != Path("/proc/self/ns/net").stat().st_ino
        assert child.wait(10) == 0
    for path in (rig.settings.calls_socket, rig.settings.dials_socket, rig.settings.workloads_socket):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (
            rig.settings.uids.broker, rig.settings.uids.gateway, 0o660,
        )  # fmt: skip


def test_a_broker_whose_database_is_elsewhere_keeps_the_hosts_network(rig, file):
    document = json.loads(file.read_text())
    document["vault"] = {"url": "postgresql+psycopg://broker@203.0.113.5/egress"}
    file.write_text(json.dumps(document))
    with probe(file, "broker") as child:
        line = child.stdout.readline()
        assert line, child.stderr.read()
        assert json.loads(line)["namespace"] == Path("/proc/self/ns/net").stat().st_ino
        assert child.wait(10) == 0


def test_netd_keeps_only_its_four_capabilities(rig, file):
    with probe(file, "netd") as child:
        state = json.loads(child.stdout.readline())
        # CAP_DAC_OVERRIDE 1, CAP_NET_ADMIN 12, CAP_SYS_PTRACE 19, CAP_SYS_ADMIN 21
        mask = f"{(1 << 1) | (1 << 12) | (1 << 19) | (1 << 21):016x}"
        assert state["status"]["CapEff"] == state["status"]["CapBnd"] == [mask]
        assert state["status"]["CapAmb"] == ["0" * 16]
        assert state["nice"] == NICE_BEHIND


@pytest.mark.parametrize(
    ("prepare", "name", "message"),
    [
        (lambda rig: None, "nobody", "there is no process 'nobody'"),
        (lambda rig: None, "resolver", "network namespace"),
        (lambda rig: rig.settings.control_socket("netd").parent.mkdir(), "netd", "is no socket"),
    ],
)
def test_what_cannot_be_started_says_why(rig, file, prepare, name, message):
    prepare(rig)
    if name == "netd":
        rig.settings.control_socket("netd").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "netns.launch", name],
        env={"EGRESS_SETTINGS": str(file), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 78
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def until_ready(settings, process, within=60):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        try:
            answer = ipc.ask(str(settings.control_socket("netd")), {"op": "status"}, timeout=5)
        except OSError:
            time.sleep(0.1)
            continue
        if answer["ready"]:
            return answer
        time.sleep(0.1)
    raise AssertionError("netd did not become ready")


def start_netd(file, log):
    return subprocess.Popen(
        [sys.executable, "-m", "netns.launch", "netd"],
        env={"EGRESS_SETTINGS": str(file), "PATH": os.environ["PATH"]},
        stdout=log,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_netd_serves_survives_kill_9_and_is_removed_without_trace(rig, file, tmp_path):
    with (tmp_path / "netd.log").open("w") as log:
        try:
            with start_netd(file, log) as first:
                status = until_ready(rig.settings, first)
                assert status["subscribers"] == {"broker": 0, "gateway worker": 0, "resolver": 0, "squid": 0}
                assert (
                    tmp_path / "plugins" / f"{rig.settings.instance}.sock"
                ).stat().st_mode & 0o777 == 0o600
                second = subprocess.run(
                    [sys.executable, "-m", "netns.launch", "netd"],
                    env={"EGRESS_SETTINGS": str(file), "PATH": os.environ["PATH"]},
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=60,
                )
                assert second.returncode == 78
                assert "another process is listening" in second.stderr
                first.send_signal(signal.SIGKILL)
                first.wait(10)
            with start_netd(file, log) as again:
                until_ready(rig.settings, again)
                assert ipc.ask(str(rig.settings.control_socket("netd")), {"op": "counters"})["counters"][
                    "spoofed"
                ]
                assert ipc.ask(str(rig.settings.control_socket("netd")), {"op": "reload"}) == {"ok": True}
                answer = ipc.ask(str(rig.settings.control_socket("netd")), {"op": "teardown"}, timeout=30)
                assert answer == {"ok": True}
                assert again.wait(20) == 0
        finally:
            subprocess.run(
                [sys.executable, "-m", "netns.main", "--teardown"],
                env={"EGRESS_SETTINGS": str(file), "PATH": os.environ["PATH"]},
                check=True,
                timeout=60,
            )
    assert not Path(f"/run/netns/{rig.settings.namespace}").exists()


def test_the_fallbacks_directory_is_closed_to_all_but_its_uid(rig, kernel, file):
    with probe(file, "squid") as child:
        state = json.loads(child.stdout.readline())
    uid = rig.settings.uids.squid
    assert sorted(state["sockets"]) == ["bundle", "control"]
    assert state["status"]["CapEff"] == state["status"]["CapBnd"] == ["0" * 16]
    directory = (rig.settings.run_dir / "squid").stat()
    assert (directory.st_uid, directory.st_mode & 0o777) == (uid, 0o700)
