"""Is the admission plugin on in dockerd? Without it no container gets a network (fail closed)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from netns.driver.facts import Engine, EngineUnavailable
from netns.driver.refusal import DriverRefused

MAX_AGE = 5.0
STARTING = 60.0
"""Seconds after its start in which dockerd may not answer yet."""
MARK = "egress-admission="
_NEVER = float("-inf")


class AdmissionSwitch:
    """Proves that dockerd asks us about API calls, at most every `MAX_AGE` seconds of `clock`.

    `/info` tells only with what dockerd was started, not what a reload has changed (20.10). So we make a call
    that nobody can guess and see whether the plugin is asked about it. While dockerd starts, it wires
    containers with a restart policy before it answers its API; then the configuration file that it has just
    read is the source. At any other time the file proves nothing: dockerd is believed to be starting only
    while it is young (`age` gives seconds, None when that cannot be told) and has not answered yet.
    """

    def __init__(
        self,
        engine: Engine,
        plugin: str,
        daemon_json: Path,
        clock: Callable[[], float],
        age: Callable[[], float | None],
    ) -> None:
        self._engine = engine
        self._plugin = plugin
        self._daemon_json = daemon_json
        self._clock = clock
        self._age = age
        self._answered_at = _NEVER
        self._good_until = _NEVER
        self._expected: set[str] = set()

    def heard(self, target: str) -> None:
        """The plugin was asked about a call with this request target."""
        _, found, nonce = target.partition(MARK)
        if found:
            self._expected.discard(nonce)

    async def require_on(self) -> None:
        """Raise `DriverRefused` with the mend unless dockerd asks us about every API call."""
        if self._clock() < self._good_until:
            return
        try:
            on = await self._asked_about_a_call()
            self._answered_at = self._clock()
        except EngineUnavailable:
            if self._starting() and listed(self._daemon_json, self._plugin):
                return
            on = False
        if not on:
            raise DriverRefused(
                f"egress: the admission plugin {self._plugin!r} is not on in dockerd; "
                f"{mend(self._plugin, self._daemon_json)}"
            )
        self._good_until = self._clock() + MAX_AGE

    async def asks(self) -> bool | None:
        """Whether dockerd asks us now, None when it does not answer. An earlier proof ends with a no."""
        try:
            on = await self._asked_about_a_call()
        except EngineUnavailable:
            return None
        if not on:
            self._good_until = _NEVER
        return on

    async def _asked_about_a_call(self) -> bool:
        """Make a call and see whether the plugin is asked about it. Raises `EngineUnavailable`."""
        nonce = secrets.token_hex(16)
        self._expected.add(nonce)
        try:
            await self._engine.ping(MARK + nonce)
            return nonce not in self._expected
        finally:
            self._expected.discard(nonce)

    def _starting(self) -> bool:
        age = self._age()
        if age is None:
            return self._answered_at == _NEVER
        return age < STARTING and self._answered_at < self._clock() - age


def mend(plugin: str, daemon_json: Path) -> str:
    """What the operator has to do."""
    return (
        f'add "authorization-plugins": ["{plugin}"] to {daemon_json} and reload dockerd '
        f"(systemctl reload docker, or kill -HUP its process)"
    )


def listed(daemon_json: Path, plugin: str) -> bool:
    """Whether dockerd's configuration file turns the plugin on."""
    try:
        document = json.loads(daemon_json.read_bytes())
        return plugin in document["authorization-plugins"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
