"""Root in disguise (issue 2): an image calls root's group `1000`, so that --user 1000:1000 has that group.

dockerd asks runc for the additional group `1000`, and runc looks that up by name before it takes it as a number.
A user called `1000` deceives no runc that we know; the image has one all the same. The control runs first,
with the check taken out: then the container is in root's group, and keeps its link.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from own_engine import HARDENED, IMAGE, OwnEngine, wait_for

pytestmark = pytest.mark.system

CRAFTED = "egress-test-disguise"
PASSWD = "1000:x:0:0:::/bin/sh"
GROUP = "1000:x:0:"


@pytest.fixture
def crafted(engine: OwnEngine) -> Iterator[str]:
    script = f"sed -i '1i {PASSWD}' /etc/passwd; sed -i '1i {GROUP}' /etc/group"
    engine.docker("run", "--name", "craft", "--network", "none", IMAGE, "sh", "-c", script)
    engine.docker("commit", "craft", CRAFTED)
    yield CRAFTED
    engine.docker("rm", "-f", *engine.docker("ps", "-aq").stdout.split())
    engine.docker("rmi", "-f", CRAFTED)


def start(engine: OwnEngine, image: str, *words: str, name: str = "suspect") -> None:
    command = ("sh", "-c", "grep -E '^(Uid|Gid|Groups):' /proc/self/status; exec sleep 60")
    engine.docker("run", "-d", "--name", name, "--network", "acme", *HARDENED, *words, image, *command)


def status(engine: OwnEngine, name: str = "suspect") -> str:
    return engine.docker("inspect", "-f", "{{.State.Status}}", name).stdout.strip()


def test_without_the_check_it_is_root_and_stays(engine: OwnEngine, crafted: str) -> None:
    engine.restart_plugin("unverified")
    try:
        start(engine, crafted)
        time.sleep(3)
        assert status(engine) == "running"
        assert "Groups:\t0 " in engine.docker("logs", "suspect").stdout
        assert len(engine.links()["links"]) == 1  # type: ignore[arg-type] # JSON
    finally:
        engine.restart_plugin()


def test_it_loses_its_link_and_is_stopped(engine: OwnEngine, crafted: str) -> None:
    start(engine, crafted)
    wait_for("its end", lambda: status(engine) == "exited", 10)
    assert engine.links()["links"] == []
    identifier = engine.docker("inspect", "-f", "{{.Id}}", "suspect").stdout.strip()
    (record,) = [r for r in engine.records() if r.get("container") == identifier]
    assert (record["kind"], record["operation"], record["outcome"]) == ("admission", "run", "denied")
    assert (record["tenant"], record["reason"]) == ("acme", "process-status")
    assert "Groups is 0 (root)" in record["detail"]


def test_it_is_found_after_our_restart(engine: OwnEngine, crafted: str) -> None:
    engine.restart_plugin("unverified")
    start(engine, crafted)
    engine.restart_plugin()
    wait_for("its end", lambda: status(engine) == "exited", 20)


def test_it_does_not_come_back_with_its_engine(engine: OwnEngine, crafted: str) -> None:
    """Docker starts what has `--restart always` also after it was killed, and before it answers whose it is."""
    start(engine, crafted, "--restart", "always")
    policy = ("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "suspect")
    wait_for("its end", lambda: status(engine) == "exited", 10)
    wait_for("the end of its policy", lambda: engine.docker(*policy).stdout.strip() == "no", 10)
    began = engine.docker("inspect", "-f", "{{.State.StartedAt}}", "suspect").stdout
    engine.stop_daemon()
    engine.start_daemon()
    assert status(engine) == "exited"
    assert engine.docker("inspect", "-f", "{{.State.StartedAt}}", "suspect").stdout == began


def test_an_honest_image_runs_on(engine: OwnEngine, crafted: str) -> None:
    start(engine, IMAGE, name="honest")
    start(engine, crafted)
    wait_for("the end of the one that came after it", lambda: status(engine) == "exited", 10)
    assert status(engine, "honest") == "running"
    assert "Uid:\t1000\t1000\t1000\t1000" in engine.docker("logs", "honest").stdout


@pytest.mark.parametrize("name", ["runc:[2:INIT]", "fourteen-octeté"])
def test_a_name_hides_nobody(engine: OwnEngine, crafted: str, name: str) -> None:
    """A program called as runc's own stages are, on a file system that is not the container's root; and one
    whose name the kernel cuts in the middle of a character.
    """
    engine.docker("volume", "create", "acme_disguise")
    copy = f"cp /bin/sleep '/v/{name}'"
    engine.docker("run", "--rm", "--network", "none", "-v", "acme_disguise:/v", IMAGE, "sh", "-c", copy)
    words = ("-v", "acme_disguise:/v", crafted, f"/v/{name}", "60")
    engine.docker("run", "-d", "--name", "suspect", "--network", "acme", *HARDENED, *words)
    try:
        wait_for("its end", lambda: status(engine) == "exited", 20)
    finally:
        engine.docker("rm", "-f", "suspect")
        engine.docker("volume", "rm", "acme_disguise")


def test_a_refusal_is_on_record(engine: OwnEngine) -> None:
    done = engine.docker("create", "--network", "acme", "--name", "y", IMAGE, "true", check=False)
    assert "needs --user" in done.stderr
    record = engine.records()[-1]
    expected = {
        "kind": "admission", "operation": "create", "tenant": "acme", "container": "y", "image": IMAGE,
        "user": None, "outcome": "denied", "reason": "user",
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    assert "secret" not in json.dumps(record)


def test_no_record_no_container(engine: OwnEngine) -> None:
    engine.restart_plugin("unrecorded")
    try:
        for words in (("--network", "acme", *HARDENED), ("--network", "none")):
            done = engine.docker("create", *words, IMAGE, "true", check=False)
            assert (done.returncode == 0) is ("none" in words)
            assert ("no space left for audit records" in done.stderr) is ("acme" in words)
    finally:
        engine.restart_plugin()
