"""The files that Squid reads: written whole, readable by its uid alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.tls.intermediate import Intermediate
from squid.child import PROGRAM
from squid.render import GENERATOR, LEAVES_SIZE, Place, form_script, pages, target_script

WITHIN = 20.0
"""Seconds that Squid has to check a configuration."""


_FAULT = re.compile("FATAL|ERROR|unrecognized")


class NotUsable(Exception):
    """A configuration that Squid refuses, or files that cannot be written; `str()` says why."""


def prepare(place: Place) -> None:
    """The directory, empty: what an earlier run left, keys among it, goes. Raises `NotUsable`."""
    directory = Path(place.directory)
    try:
        for entry in directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        Path(place.pages).mkdir(mode=0o700)
        for name, text in pages().items():
            _write(Path(place.pages, name), text.encode())
        _write(Path(place.target_script), target_script().encode())
        _write(Path(place.form_script), form_script().encode())
    except OSError as error:
        raise NotUsable(f"{directory}: {error.strerror}; start it with the launcher (`egress up`)") from error


def sign_with(place: Place, intermediate: Intermediate) -> None:
    """A new signing key, and no leaf of the old one left. Squid must not run. Raises `NotUsable`."""
    key = intermediate.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        _write(Path(place.signing), key + intermediate.certificate.public_bytes(Encoding.PEM))
        shutil.rmtree(place.leaves, ignore_errors=True)
        _run(GENERATOR, "-c", "-s", str(place.leaves), "-M", LEAVES_SIZE)
    except OSError as error:
        raise NotUsable(f"{place.signing}: {error.strerror}") from error


def install(place: Place, text: str) -> None:
    """Put a configuration in place if Squid can use it; the old one stays else. Raises `NotUsable`."""
    draft = Path(f"{place.configuration}.new")
    try:
        _write(draft, text.encode())
        _run(PROGRAM, "-k", "parse", "-f", str(draft))
        draft.replace(place.configuration)
    except OSError as error:
        raise NotUsable(f"{draft}: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    """`path` with mode 0600 from its first byte on."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    draft.replace(path)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN, env={})
    except subprocess.TimeoutExpired as error:
        raise NotUsable(f"{command[0]} did not end in {WITHIN:.0f} s") from error
    if done.returncode != 0:
        said = [x for x in (done.stdout + done.stderr).splitlines() if _FAULT.search(x)]
        raise NotUsable(f"{command[0]}: {'; '.join(said)[:500] or f'status {done.returncode}'}")
