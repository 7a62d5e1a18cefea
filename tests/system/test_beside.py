"""A second instance comes up beside one that serves, on the same engine or before one, and goes without a trace."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.verify.case import Image
from tests.lab import internet
from tests.lab.appliance import COMMAND, INSTANCE, SETTINGS_FILE, Appliance
from tests.lab.containers import IMAGES, run_hardened
from tests.lab.policies import READER

pytestmark = pytest.mark.system

SECOND = "egltwo"
DAEMON_JSON = Path("/etc/docker/daemon.json")
PLACE = internet.RUNTIME / "two"


@pytest.fixture
def second(appliance: Appliance) -> Iterator[Path]:
    """The settings file of the second: everything its own but the engine, the Internet and the name servers."""
    settings = json.loads(SETTINGS_FILE.read_text())
    settings |= {name: str(PLACE / name) for name in ("config_dir", "run_dir", "state_dir", "log_dir")}
    settings |= {
        "instance": SECOND,
        "uplink": {**settings["uplink"], "address": "198.18.88.6/30", "peer": "198.18.88.5"},
        "uids": {name: uid + 10 for name, uid in settings["uids"].items()},
    }
    PLACE.mkdir()
    file = PLACE / "egress.yaml"
    file.write_text(json.dumps(settings))
    yield file
    egress(file, "down", "--force")
    shutil.rmtree(PLACE)


class PluginSocket(http.client.HTTPConnection):
    """What an engine does first with a plugin that its configuration names."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(f"/run/docker/plugins/{SECOND}.sock")


def egress(settings: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (str(COMMAND), "--settings", str(settings), *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, cwd="/")


def plugins() -> list[str]:
    found: list[str] = json.loads(DAEMON_JSON.read_text())["authorization-plugins"]
    return found


def test_both_are_asked_and_the_first_serves_on(appliance: Appliance, second: Path) -> None:
    up = egress(second, "up")
    assert up.returncode == 0, up.stderr
    assert plugins() == [INSTANCE, SECOND]
    fetched = run_hardened(READER, IMAGES[Image.PYTHON], ("curl", "-sS", f"https://{internet.WWW.name}/"))
    assert fetched.status == 0, fetched.text
    for file in (SETTINGS_FILE, second):
        checks = json.loads(egress(file, "--json", "doctor").stdout)
        (admission,) = [check for check in checks if check["name"] == "admission plugin"]
        assert admission["ok"], admission
    down = egress(second, "down")
    assert down.returncode == 0, down.stderr
    assert plugins() == [INSTANCE]


def test_it_comes_up_before_an_engine_that_waits_for_it(second: Path) -> None:
    """After a boot no engine runs, and one whose configuration names our plugin cannot start before it answers."""
    named = PLACE / "daemon.json"
    text = json.dumps({"authorization-plugins": [SECOND]})
    named.write_text(text)
    docker = {"socket": str(PLACE / "docker.sock"), "daemon_json": str(named)}
    second.write_text(json.dumps({**json.loads(second.read_text()), "docker": docker}))
    up = egress(second, "up")
    assert up.returncode == 0, up.stderr
    assert "start it now" in up.stdout
    with closing(PluginSocket("plugin")) as call:
        call.request("POST", "/Plugin.Activate")
        assert "authz" in json.loads(call.getresponse().read())["Implements"]
    assert named.read_text() == text
