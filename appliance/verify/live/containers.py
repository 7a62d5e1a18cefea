"""Containers of the live battery: on a real tenant's network, hardened as every workload is, ours to end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.verify.case import Output
from appliance.verify.live import resident
from appliance.verify.live.ground import GroundError

LABEL = "egress.verify"  # its value: the instance
SECONDS = 60.0
START_SECONDS = 60.0
TEXT = Path(resident.__file__).read_text(encoding="utf-8")

Flags = Callable[[str], Sequence[str]]
"""`docker run` flags of a hardened container on a network."""


class Engine:
    """The Docker engine of the instance, by its own command."""

    def __init__(self, socket: Path, instance: str, image: str, flags: Flags) -> None:
        self._docker = ("docker", "-H", f"unix://{socket}")
        self._label = f"{LABEL}={instance}"
        self._image, self._flags = image, flags

    def __call__(self, *words: str, seconds: float = SECONDS) -> Output:
        """What the engine says to a command. In lists of containers are ours alone."""
        ours = ("--filter", f"label={self._label}") if words[:1] == ("ps",) else ()
        return run((*self._docker, *words, *ours), seconds)

    def once(self, network: str, command: Sequence[str], options: Sequence[str]) -> Output:
        """A command in a container of its own, with more flags; the container is gone afterwards."""
        name = f"egress-verify-{secrets.token_hex(6)}"
        done = run((*self.words(network, name), *options, self._image, *command), SECONDS)
        if done.status is None:
            self("rm", "-f", name)
        return done

    def start(self, network: str, *, serves: bool = False) -> Resident:
        """A container that stays. Raises `GroundError`."""
        name = f"egress-verify-{secrets.token_hex(6)}"
        text = ("python3", "-u", "-c", TEXT, *(("serve",) if serves else ()))
        found = Resident((*self.words(network, name, "-i"), self._image, *text))
        try:
            self._look(found, name)
        except BaseException:
            found.close()
            raise
        return found

    def _look(self, found: Resident, name: str) -> None:
        told = self("inspect", name)
        try:
            facts = json.loads(told.text)[0]
            (network,) = facts["NetworkSettings"]["Networks"].values()
            found.pid, found.address = int(facts["State"]["Pid"]), str(network["IPAddress"])
        except (ValueError, KeyError, IndexError) as error:
            raise GroundError(f"{name} cannot be inspected: {told.text.strip()[:300]}") from error

    def words(self, network: str, name: str, *more: str) -> tuple[str, ...]:
        """`docker run` up to the image."""
        return (*self._docker, "run", "--rm", "--pull", "never", "--name", name, "--label", self._label,
                *more, *self._flags(network))  # fmt: skip

    def remove_all(self) -> None:
        """Remove what this run or a killed one left. Safe to repeat."""
        found = self("ps", "-aq").text.split()
        if found:
            self("rm", "-f", *found)


class Resident:
    """A container whose first process is `resident`; `visits` are (peer, address) of connections to it."""

    def __init__(self, words: Sequence[str]) -> None:
        self.pid, self.address, self.port = 0, "", resident.PORT
        self.visits: list[tuple[str, str]] = []
        self._answers: queue.Queue[tuple[int | None, str] | None] = queue.Queue()
        self._rest = ""
        # In a session of its own: what the terminal sends to us is for us to act on.
        self._docker = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._answer(START_SECONDS)
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        assert self._docker.stdout is not None
        for line in self._docker.stdout:
            try:
                said: list[Any] = json.loads(line)
                if said[0] == "visit":
                    self.visits.append((str(said[1]), str(said[2])))
                else:
                    self._answers.put((said[1], str(said[2])))
            except (ValueError, LookupError, TypeError):
                self._rest += line
        self._answers.put(None)

    def _answer(self, seconds: float) -> tuple[int | None, str]:
        try:
            found = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise GroundError(f"a container of the battery gave no answer within {seconds:.0f} s") from None
        if found is None:
            raise GroundError(
                f"a container of the battery ended: {self._rest.strip()[-400:] or 'it said nothing'}"
            )
        return found

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._docker.poll() is None

    def run(self, command: Sequence[str]) -> Output:
        """A command inside, as its workload. Raises `GroundError` when the container has ended."""
        assert self._docker.stdin is not None
        try:
            self._docker.stdin.write(json.dumps([SECONDS, *command]) + "\n")
            self._docker.stdin.flush()
        except OSError as error:
            raise GroundError("a container of the battery ended") from error
        return Output(*self._answer(SECONDS + 10))

    def close(self) -> None:
        """End it."""
        assert self._docker.stdin is not None
        assert self._docker.stdout is not None
        with contextlib.suppress(OSError):
            self._docker.stdin.close()
        try:
            self._docker.wait(10)
        except subprocess.TimeoutExpired:
            self._docker.kill()
            self._docker.wait()
        self._reader.join()
        self._docker.stdout.close()


def run(words: Sequence[str], seconds: float = SECONDS, path: str = "") -> Output:
    """A command of the host to its end. Status 127 when there is no such command."""
    environment = {"PATH": path or os.environ.get("PATH", os.defpath)}
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=seconds, check=False, cwd="/", env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout.decode(errors="replace") if isinstance(expired.stdout, bytes) else ""
        return Output(None, f"{said}\n(stopped after {seconds:.0f} s)")
    except OSError as error:
        return Output(127, str(error))
    return Output(done.returncode, done.stdout)
