"""The Docker engine as the operator's commands see it: its configuration file, its networks, its reload.

Blocking; for the command line only. The Docker context of the caller's environment is not consulted: the
engine is the one of the settings.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import docker
import docker.errors

from appliance.admission_probe import announced
from appliance.docker_root import engine_pid
from appliance.explained import Explained
from appliance.listeners import listening_pid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from appliance.settings import Settings

AUTHORIZATION = "authorization-plugins"


class DockerUnavailable(Explained, RuntimeError):
    """The engine cannot be asked; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ApplianceNetwork:
    """One Docker network of this instance's driver."""

    name: str
    id: str
    tenant: str
    subnet: str
    containers: tuple[str, ...]


def _silent(settings: Settings) -> DockerUnavailable:
    return DockerUnavailable(
        f"no Docker engine answers on {settings.docker.socket}; start it (systemctl start docker) "
        "or set docker.socket in the settings"
    )


@contextlib.contextmanager
def client(settings: Settings) -> Iterator[docker.DockerClient]:
    """A client of the configured engine. Raises `DockerUnavailable`."""
    if listening_pid(str(settings.docker.socket)) is None:
        raise _silent(settings)
    try:
        connection = docker.DockerClient(base_url=f"unix://{settings.docker.socket}", timeout=60)
    except docker.errors.DockerException as error:
        raise _silent(settings) from error
    try:
        yield connection
    except (docker.errors.DockerException, OSError) as error:
        if isinstance(error, docker.errors.APIError) and error.is_client_error():
            raise  # an answer, for the caller to read
        raise DockerUnavailable(f"the Docker engine on {settings.docker.socket} fails: {error}") from error
    finally:
        connection.close()


def networks(settings: Settings) -> list[ApplianceNetwork]:
    """Every Docker network of this instance's driver."""
    with client(settings) as engine:
        found = engine.api.networks(filters={"driver": settings.instance})
        return [_network(engine.api.inspect_network(item["Id"])) for item in found]


def _network(raw: dict[str, Any]) -> ApplianceNetwork:
    config = (raw.get("IPAM") or {}).get("Config") or [{}]
    attached = raw.get("Containers") or {}
    return ApplianceNetwork(
        raw["Name"],
        raw["Id"],
        (raw.get("Options") or {}).get("tenant", ""),
        config[0].get("Subnet", ""),
        tuple(sorted(str(c.get("Name", "")) for c in attached.values())),
    )


def has_image(settings: Settings, image: str) -> bool:
    """Whether the engine has `image` (a reference as `docker run` takes it). Raises `DockerUnavailable`."""
    with client(settings) as engine:
        try:
            engine.images.get(image)
        except docker.errors.ImageNotFound:
            return False
    return True


def log_driver(settings: Settings) -> str:
    """Where containers' output goes unless they say otherwise. Raises `DockerUnavailable`."""
    with client(settings) as engine:
        return str(engine.info().get("LoggingDriver", ""))


def admission_enabled(settings: Settings) -> bool:
    """Whether the running engine asks our admission plugin before it acts.

    `/info` lists only the plugins that the engine was started with, not what a reload changed (20.10).
    So we make a call that this plugin refuses, and only this one. Raises `DockerUnavailable`.
    """
    status, text = _probe(settings)
    # "denied by plugin NAME: …" when it judged, "plugin NAME failed with error" when it is down.
    return status == HTTPStatus.FORBIDDEN and f"denied by plugin {settings.instance}:" in text


def admission_disabled(settings: Settings) -> bool:
    """Whether the running engine answers without our plugin, alive or dead. Raises `DockerUnavailable`.

    Not the negation of `admission_enabled`: an engine in the middle of a change answers 200 without a body.
    """
    text = _probe(settings)[1]
    return bool(text) and f"plugin {settings.instance}" not in text.replace('"', "")


def _probe(settings: Settings) -> tuple[int, str]:
    try:
        with announced(settings.run_dir) as target:
            return _call(settings, "GET", target)
    except OSError as error:
        raise DockerUnavailable(
            f"the admission plugin cannot be asked for: {settings.run_dir}: {error.strerror}; make room there"
        ) from error


def waits_for_us(settings: Settings) -> bool:
    """Whether the engine refuses every call because our plugin is configured and down.

    So it is after all our processes died, or after a boot. Raises `DockerUnavailable` when nobody listens.
    """
    status, text = _call(settings, "GET", "/version")
    return status != HTTPStatus.OK and f"plugin {settings.instance} failed" in text.replace('"', "")


def starts_after_us(settings: Settings) -> bool:
    """Whether no engine runs, and none could: one whose file names our plugin ends if the plugin is down.

    So it is after a boot. Raises `DockerUnavailable` when the file cannot be read.
    """
    if listening_pid(str(settings.docker.socket)) is not None:
        return False
    return settings.instance in _configuration(_daemon_json(settings)).get(AUTHORIZATION, [])


def _call(settings: Settings, method: str, path: str) -> tuple[int, str]:
    """Status and text of one call without a body, made past the SDK. Raises `DockerUnavailable`."""
    if listening_pid(str(settings.docker.socket)) is None:
        raise _silent(settings)
    with contextlib.closing(_UnixConnection(str(settings.docker.socket))) as connection:
        try:
            connection.request(method, path, body=b"", headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read(65536).decode("utf-8", "replace")
        except OSError as error:
            raise DockerUnavailable(f"{settings.docker.socket}: {error}") from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the engine's Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def enable_admission(settings: Settings) -> bool:
    """Put our plugin into the engine's configuration and have it re-read. True when it was changed."""
    return _edit_authorization(settings, add=True)


def disable_admission(settings: Settings) -> bool:
    """Take our plugin out again; must come before the plugin stops, or the engine refuses every call."""
    return _edit_authorization(settings, add=False)


def _edit_authorization(settings: Settings, *, add: bool) -> bool:
    file = _daemon_json(settings)
    config = _configuration(file)
    before = list(config.get(AUTHORIZATION, []))
    after = [name for name in before if name != settings.instance] + ([settings.instance] if add else [])
    changed = before != after
    if changed:
        config = {**config, AUTHORIZATION: after}
        if not after:
            del config[AUTHORIZATION]
        if config:
            file.parent.mkdir(parents=True, exist_ok=True)
            _replace(file, json.dumps(config, indent=2) + "\n")
        else:
            file.unlink(missing_ok=True)
    _reload(settings, expect=add)
    return changed


def _daemon_json(settings: Settings) -> Path:
    return settings.docker.root / settings.docker.daemon_json.relative_to("/")


def _configuration(file: Path) -> dict[str, Any]:
    """The engine's configuration file, empty where there is none. Raises `DockerUnavailable`."""
    text = file.read_text() if file.exists() else ""
    try:
        config = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise DockerUnavailable(f"{file} is not JSON ({error}); mend it, nothing was changed") from error
    if not isinstance(config, dict) or not isinstance(config.get(AUTHORIZATION, []), list):
        raise DockerUnavailable(
            f"{file}: {AUTHORIZATION} must be a list of plugin names; nothing was changed"
        )
    return config


def _replace(file: Path, text: str) -> None:
    """The whole file or none of it, also on a full disk. Raises `OSError` naming the file."""
    temporary = file.with_name(file.name + ".egress-new")
    try:
        temporary.write_text(text)
        temporary.replace(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _reload(settings: Settings, *, expect: bool) -> None:
    pid = engine_pid(settings.docker)
    if pid is None:
        raise _silent(settings)
    os.kill(pid, signal.SIGHUP)
    settled = admission_enabled if expect else admission_disabled
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if settled(settings):
            return
        time.sleep(0.1)
    raise DockerUnavailable(
        f"the engine did not take the {'new' if expect else 'reduced'} list of plugins from "
        f"{settings.docker.daemon_json}; restart it (systemctl restart docker), then run this again"
    )
