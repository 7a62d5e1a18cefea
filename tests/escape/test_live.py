"""`egress verify --tenant` against an instance that serves, and what it says when a protection is gone.

The instance is the lab's, whose uplink ends in a namespace that passes packets on as a host does; the canaries, the
control and the containers are the command's own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance import settings as settings_module
from appliance.cli.verify_live import LivePlace
from appliance.listeners import listening_pid
from appliance.verify import battery
from appliance.verify.case import Layer, Result
from appliance.verify.live.containers import LABEL
from appliance.verify.live.ground import LINK, GroundError
from appliance.verify.live.world import CANARIES, LiveWorld
from tests.lab import appliance, internet
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab
from tests.lab.namespaces import inside, run

pytestmark = pytest.mark.system

TENANT, ANOTHER = "acme", "globex"
POLICIES = {TENANT: "profile: read-only-web\n", ANOTHER: "profile: allowlist\n"}
# One of every kind; those that wait for silence take a second and a half each, and are tried by hand.
TRIED = ("A1", "A4-private", "A4-host", "A6-fragments", "A8-unbound", "A12-power", "A13-gateway", "A16-ports", "A19-proxied",
         "A23-siblings", "A24-dual-homed", "A25", "B3", "B8-dot", "C7", "C12", "D14")  # fmt: skip
EXCEPTION = f"exceptions:\n  - {{tenant: {TENANT}, cidr: {CANARIES[0]}/32, port: 80}}\n"


@pytest.fixture(scope="module")
def serving() -> Iterator[Appliance]:
    with Lab() as lab, Appliance(lab, POLICIES) as found:
        run(*inside(internet.INTERNET, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
        yield found


@contextmanager
def world() -> Iterator[LiveWorld]:
    settings = settings_module.load(appliance.SETTINGS_FILE)
    with LivePlace(settings, TENANT, (), lambda _line: None).stand() as found:
        yield found


def tried(live: LiveWorld, identifier: str, layer: Layer) -> Result:
    case = next(case for case in battery.gather(live) if case.id == identifier)
    return battery.run_case(case, layer, live)


def left() -> list[str]:
    """What a run has not taken away."""
    links = json.loads(run("ip", "-n", internet.INTERNET, "-j", "link"))
    routes = json.loads(run("ip", "-n", internet.INTERNET, "-j", "route"))
    containers = run("docker", "ps", "-aq", "--filter", f"label={LABEL}").split()
    return [*(x["ifname"] for x in links if x["ifname"] == LINK), *(r["dst"] for r in routes if r["dst"] in CANARIES), *containers]  # fmt: skip


def test_every_case_holds_and_nothing_is_left(serving: Appliance) -> None:
    words = [word for each in TRIED for word in ("--case", each)]
    done = serving.egress("verify", "--tenant", TENANT, *words, seconds=120, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines[0].startswith(f"tenant {TENANT} of instance {appliance.INSTANCE}; canaries: {CANARIES[0]}")
    assert "passes no packet on" not in lines[0]
    count = sum(line.startswith("ok ") for line in lines)
    assert count >= 25
    assert lines[-2].startswith(f"tried on the instance that serves: {count} of the table's ")
    assert lines[-1] == f"verify: {count} of {count} cases hold, 0 skipped"
    assert left() == []


def test_a_rule_that_opens_the_canary_is_noticed_first_by_the_command_then_by_the_case(
    serving: Appliance,
) -> None:
    operator = appliance.DIRECTORIES["config_dir"] / "operator.yaml"
    with world() as live:
        assert tried(live, "A1-private", Layer.GATEWAY).held
        operator.write_text(EXCEPTION)
        try:
            serving.egress("policy", "reload")
            refused = serving.egress("verify", "--tenant", TENANT, check=False)
            assert refused.returncode == 1
            assert "at work" in refused.stderr
            # The whole way is there: the workload's request comes to a canary and is answered.
            result = tried(live, "A1-private", Layer.GATEWAY)
            assert any("REACHED" in problem for problem in result.problems), result
            assert any("'egress-canary'" in problem for problem in result.problems), result
            with pytest.raises(GroundError, match="which an exception in operator"):
                live.up(LivePlace(live.settings, TENANT, (), print)._pools())
        finally:
            operator.write_text("{}\n")  # were it gone, its last rules would stay in force
            serving.egress("policy", "reload")


@contextmanager
def without(rule: str) -> Iterator[None]:
    """The gateway's table without a rule, and the namespace without its dead ends, while netd sleeps."""
    settings = settings_module.load(appliance.SETTINGS_FILE)
    there = ("nsenter", f"--net=/run/netns/{settings.namespace}")
    table = run(*there, "nft", "-s", "list", "table", "inet", settings.instance)
    dead_ends = [line for line in run(*there, "ip", "route").splitlines() if line.startswith("unreachable")]
    assert table.count(rule) == 1
    netd = listening_pid(str(settings.control_socket("netd")))
    assert netd is not None
    os.kill(netd, signal.SIGSTOP)
    try:
        load(there, settings.instance, table.replace(rule, ""))
        run(*there, "ip", "route", "flush", "type", "unreachable")
        yield
    finally:
        load(there, settings.instance, table)
        present = run(*there, "ip", "route")
        for line in dead_ends:
            if line.strip() not in present:
                run(*there, "ip", "route", "add", *line.split())
        os.kill(netd, signal.SIGCONT)


def load(there: tuple[str, ...], instance: str, table: str) -> None:
    name = f"table inet {instance}"
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        file.write(f"{name}\ndelete {name}\n{table}")
        file.flush()
        run(*there, "nft", "-f", file.name)


def test_without_the_kernels_rule_a_process_that_was_taken_over_reaches_the_canary(
    serving: Appliance,
) -> None:
    with world() as live:
        assert tried(live, "C12-taken-gateway", Layer.KERNEL).held
        with without("ip daddr @special goto leave-to-special"):
            result = tried(live, "C12-taken-gateway", Layer.KERNEL)
        assert sum("REACHED" in problem for problem in result.problems) >= 4, result
        # And the answers came back to it.
        assert "output has 'REACHED'" in result.problems


def test_a_canary_or_a_record_that_is_dead_proves_nothing(serving: Appliance) -> None:
    with world() as live:
        case = next(case for case in battery.gather(live) if case.id == "A1-private")
        live.witness.close()
        result = battery.run_case(case, Layer.GATEWAY, live)
    assert not result.held


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_interrupted_leaves_nothing(serving: Appliance, sent: signal.Signals) -> None:
    command = (
        str(appliance.COMMAND),
        "--settings",
        str(appliance.SETTINGS_FILE),
        "verify",
        "--tenant",
        TENANT,
        "--case",
        "A6-udp",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("tenant ")
        assert left()
        running.send_signal(sent)
        running.wait(30)
    deadline = time.monotonic() + 20
    while left():
        assert time.monotonic() < deadline, left()
        time.sleep(0.2)
    assert running.returncode != 0
