"""Docker's embedded DNS (B9): the leak first, then sealed; too late is stopped.

The engine's own name server is 127.0.0.1, so dockerd forwards out of the host's namespace on every version.
"""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from own_engine import HARDENED, IMAGE, OwnEngine, wait_for

pytestmark = pytest.mark.system

LIST_UDP = "grep -v sl /proc/net/udp"


def test_without_the_seal_a_name_leaves_by_the_host(engine: OwnEngine) -> None:
    engine.restart_plugin("unsealed")
    try:
        engine.run(IMAGE, "dig", "+short", "+tries=1", "+time=2", "control.example", check=False)
    finally:
        engine.restart_plugin()
    assert "control.example." in engine.queries(engine.host_queries)


def test_with_the_seal_it_comes_to_the_gateway(engine: OwnEngine) -> None:
    script = "dig +short +tries=1 +time=2 sealed.example; dig +short +tcp +tries=1 +time=1 tcp.example"
    done = engine.run(IMAGE, "sh", "-c", script, check=False)
    assert done.stdout.startswith("198.51.100.7\n")
    assert "sealed.example." in engine.queries(engine.gateway_queries)
    assert "sealed.example." not in engine.queries(engine.host_queries)
    assert "tcp.example." not in engine.queries(engine.host_queries)


def test_the_random_port_of_dockerd_is_closed(engine: OwnEngine) -> None:
    """dockerd's socket is in the container's /proc/net/udp; a query straight to it is dropped."""
    script = (
        "hex=$(grep -i ' 0B00007F:' /proc/net/udp | head -1 | tr -s ' ' | cut -d' ' -f3 | cut -d: -f2); "
        "port=$(printf '%d' 0x$hex); echo port=$port; "
        "dig +short +tries=1 +time=2 -p $port @127.0.0.11 random.example"
    )

    def asked_its_port() -> bool:
        """dockerd fails to start its resolver now and then: then there is no port to ask, and no proof."""
        outputs = (engine.run(IMAGE, "sh", "-c", script, check=False).stdout for _ in range(5))
        return any("port=" in output and "port=0" not in output for output in outputs)

    engine.restart_plugin("unsealed")
    try:
        assert asked_its_port()
    finally:
        engine.restart_plugin()
    assert "random.example." in engine.queries(engine.host_queries), "the control must leak"
    engine.host_queries.write_text("")
    assert asked_its_port()
    assert "random.example." not in engine.queries(engine.host_queries)


def test_a_container_that_ran_before_its_seal_is_stopped(engine: OwnEngine) -> None:
    engine.restart_plugin("late")
    try:
        engine.docker("run", "-d", "--name", "late", "--network", "acme", *HARDENED, IMAGE, "sleep", "60")
        wait_for("its end", lambda: state(engine, "late") == "exited")
        assert "was not sealed before it ran" in engine.plugin_log.read_text()
        assert engine.links()["links"] == []
    finally:
        engine.restart_plugin()


def test_a_container_cannot_undo_it(engine: OwnEngine) -> None:
    script = "ip link set lo down; echo 0 > /proc/sys/net/ipv4/conf/all/route_localnet; ip addr add 10.0.0.1/8 dev lo"
    done = engine.run(IMAGE, "sh", "-c", script, check=False)
    assert done.stderr.count("Operation not permitted") + done.stderr.count("Read-only file system") >= 3


def test_after_our_restart_an_unsealed_container_is_stopped_and_a_sealed_one_is_not(
    engine: OwnEngine,
) -> None:
    for name in ("sealed", "opened"):
        engine.docker("run", "-d", "--name", name, "--network", "acme", *HARDENED, IMAGE, "sleep", "60")
    opened = sandbox(engine, "opened")
    engine.stop_plugin(signal.SIGKILL)  # or it would be sealed again
    inside(engine, opened, "nft", "delete", "table", "ip", "egress_seal")
    engine.start_plugin()
    wait_for("its end", lambda: state(engine, "opened") == "exited")
    assert state(engine, "sealed") == "running"


@pytest.mark.parametrize(
    "undo",
    [
        ("nft", "flush", "ruleset"),
        ("nft", "delete", "table", "ip", "egress_seal"),
        ("nft", "flush", "chain", "ip", "egress_seal", "embedded"),
    ],
    ids=" ".join,
)
def test_a20_an_undone_seal_is_made_again_within_a_second(engine: OwnEngine, undo: tuple[str, ...]) -> None:
    engine.docker("run", "-d", "--name", "kept", "--network", "acme", *HARDENED, IMAGE, "sleep", "60")
    time.sleep(1)
    kept = sandbox(engine, "kept")
    inside(engine, kept, *undo)
    began = time.monotonic()
    wait_for("the seal", lambda: "127.0.0.11 drop" in inside(engine, kept, "nft", "list", "ruleset"))
    assert time.monotonic() - began < 1
    assert state(engine, "kept") == "running"
    engine.docker("rm", "-f", "kept")


def sandbox(engine: OwnEngine, name: str) -> str:
    return engine.docker("inspect", "-f", "{{.NetworkSettings.SandboxKey}}", name).stdout.strip()


def inside(engine: OwnEngine, key: str, *words: str) -> str:
    command = engine.inside("nsenter", f"--net={key}", *words)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def state(engine: OwnEngine, name: str) -> str:
    return engine.docker("inspect", "-f", "{{.State.Status}}", name).stdout.strip()
