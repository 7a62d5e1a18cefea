"""Restarts of the container, of dockerd and of ourselves; names for the records; nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from own_engine import HARDENED, IMAGE, OwnEngine, wait_for

pytestmark = pytest.mark.system


def start(engine: OwnEngine, name: str, *words: str) -> None:
    engine.docker("run", "-d", "--name", name, "--network", "acme", *words, *HARDENED, IMAGE, "sleep", "300")


def resolves(engine: OwnEngine, name: str) -> bool:
    done = engine.docker("exec", name, "dig", "+short", "+tries=1", "+time=2", "x.example", check=False)
    return done.stdout == "198.51.100.7\n"


def links_in_kernel(engine: OwnEngine) -> int:
    done = subprocess.run(
        engine.inside("ip", "-n", "egw", "-br", "link"), capture_output=True, text=True, check=True
    )
    return done.stdout.count("t-")


def test_the_records_learn_who_it_is(engine: OwnEngine) -> None:
    start(engine, "named", "--label", "egress.run=42")
    identifier = engine.docker("inspect", "-f", "{{.Id}}", "named").stdout.strip()
    described: Any = engine.links()["described"]
    assert [identifier, "named", "42"] in described.values()


def test_docker_restart(engine: OwnEngine) -> None:
    start(engine, "again")
    engine.docker("restart", "-t", "0", "again")
    assert resolves(engine, "again")
    engine.docker("rm", "-f", "again")
    assert links_in_kernel(engine) == 0


def test_network_disconnect_takes_the_link(engine: OwnEngine) -> None:
    start(engine, "apart")
    engine.docker("network", "disconnect", "acme", "apart")
    assert links_in_kernel(engine) == 0
    assert not resolves(engine, "apart")


def test_our_own_restart_with_a_running_container(engine: OwnEngine) -> None:
    start(engine, "steady")
    engine.restart_plugin(number=signal.SIGKILL)
    assert resolves(engine, "steady")
    start(engine, "after")
    assert resolves(engine, "after")
    engine.docker("rm", "-f", "steady", "after")
    assert links_in_kernel(engine) == 0


def test_while_we_are_down_dockerd_refuses_everything(engine: OwnEngine) -> None:
    engine.stop_plugin()
    commands = [("run", "--rm", "--network", "acme", *HARDENED, IMAGE, "true"), ("ps",)]
    with ThreadPoolExecutor(2) as pool:  # dockerd asks a plugin for a long time before it refuses
        run, listed = pool.map(lambda command: engine.docker(*command, check=False), commands)
    assert run.returncode != 0
    assert listed.returncode != 0
    assert "plugin" in listed.stderr
    engine.start_plugin()
    assert engine.run(IMAGE, "true").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_dockerd_restart(engine: OwnEngine, number: int) -> None:
    start(engine, "kept", "--restart", "always")
    engine.stop_daemon(number)
    engine.start_daemon()
    wait_for(
        "the container",
        lambda: engine.docker("inspect", "-f", "{{.State.Status}}", "kept").stdout.strip() == "running",
    )
    assert resolves(engine, "kept")
    engine.docker("rm", "-f", "kept")
    wait_for("the links to go", lambda: links_in_kernel(engine) == 0)


def test_many_at_once_leave_nothing_behind(engine: OwnEngine) -> None:
    def one(index: int) -> str:
        return engine.docker(
            "run", "--rm", "--network", "acme", *HARDENED, IMAGE, "echo", str(index), seconds=200
        ).stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(16))) == [f"{index}\n" for index in range(16)]
    assert links_in_kernel(engine) == 0
    assert engine.links()["links"] == []


def default_runtime(engine: OwnEngine, name: str) -> None:
    config = {
        "authorization-plugins": ["egress"], "runtimes": {"other": {"path": "runc"}}, "default-runtime": name,
    }  # fmt: skip
    engine.daemon_json.write_text(json.dumps(config))
    assert engine.daemon is not None
    engine.daemon.send_signal(signal.SIGHUP)
    wait_for(f"runtime {name}", lambda: f"Default Runtime: {name}\n" in engine.docker("info").stdout)


def test_run_rm_ends_when_only_its_start_is_refused(engine: OwnEngine) -> None:
    """What the call leaves open the engine fills in: here with a runtime that admission does not know.

    dockerd never hears of a start that is refused, so it would not remove the container, for which the client
    waits.
    """
    default_runtime(engine, "other")
    try:
        done = engine.docker("run", "--rm", "--network", "acme", *HARDENED, IMAGE, "true", check=False)
        kept = engine.docker("create", "--network", "acme", *HARDENED, IMAGE, "true").stdout.strip()
        assert engine.docker("start", kept, check=False).returncode != 0
    finally:
        default_runtime(engine, "runc")
    assert done.returncode != 0
    assert "may not have --runtime other" in done.stderr
    assert engine.docker("ps", "-aq", "--no-trunc").stdout.split() == [kept]
