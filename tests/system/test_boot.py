"""After a boot nothing of ours runs, and an engine whose configuration names our plugin cannot start: we go first."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.lab.appliance import INSTANCE, Appliance
from tests.lab.lab import Lab, exclusive

pytestmark = pytest.mark.system

WAIT_SECONDS = 600.0  # as long as another run may hold the lab
PLUGIN = f"/run/docker/plugins/{INSTANCE}.sock"


class PluginSocket(http.client.HTTPConnection):
    """What an engine does first with a plugin that its configuration names."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(PLUGIN)


def test_the_appliance_starts_before_docker(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    text = json.dumps({"authorization-plugins": [INSTANCE]})
    file.write_text(text)
    docker = {"socket": str(tmp_path / "docker.sock"), "daemon_json": str(file)}
    with exclusive(WAIT_SECONDS), Lab(locked=True) as lab, Appliance(lab, {}, further={"docker": docker}):
        with closing(PluginSocket("plugin")) as call:
            call.request("POST", "/Plugin.Activate")
            assert "authz" in json.loads(call.getresponse().read())["Implements"]
        assert file.read_text() == text
