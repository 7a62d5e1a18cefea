"""An issuer's keys in a file of the operator's: read again when it changes; none while it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from appliance.broker.identity.jwks import MAX_DOCUMENT, KeysUnavailable
from appliance.broker.identity.jwt_keys import VerificationKey, parse_key_set, public_key, shared_secret
from appliance.broker.private_file import PrivateFileError, read_private

Find = Callable[[str | None], VerificationKey | None]
_log = Logger()


class KeyFile:
    """Implements `jwt_callers.KeySource`. `read` gives what finds a key by its id, or raises.

    It raises `OSError`, `ValueError` or `PrivateFileError`, none of which says what is in the file.
    """

    def __init__(self, path: Path, read: Callable[[Path], Find]) -> None:
        self._path = path
        self._read = read
        self._find: Find | None = None
        self._mark: tuple[int, ...] | None = None

    async def key(self, identity: str | None) -> VerificationKey | None:
        """The key with this id; None where there is none. Raises `KeysUnavailable`."""
        self.refresh()
        if self._find is None:
            raise KeysUnavailable
        return self._find(identity)

    def refresh(self) -> None:
        """Read the file if it is another than before. A fault is logged once."""
        mark = _mark(self._path)
        if mark == self._mark:
            return
        self._mark, self._find = mark, None
        try:
            self._find = self._read(self._path)
        except (OSError, ValueError, PrivateFileError) as error:
            _log.error("no key in {path}: {why}", path=str(self._path), why=str(error))


def key_set_file(path: Path) -> KeyFile:
    """A JWK set (RFC 7517 section 5). A token without a key id has no key there."""
    return KeyFile(path, _key_set)


def public_key_file(path: Path) -> KeyFile:
    """One PEM public key, whatever a token calls it."""
    return KeyFile(path, lambda file: _always(public_key(_bounded(file))))


def secret_file(path: Path) -> KeyFile:
    """A secret for HMAC, without the newline behind it; the file must be ours alone."""
    return KeyFile(path, lambda file: _always(shared_secret(read_private(file).rstrip(b"\r\n"))))


def _key_set(path: Path) -> Find:
    keys = parse_key_set(_bounded(path))
    return lambda identity: None if identity is None else keys.get(identity)


def _always(key: VerificationKey) -> Find:
    return lambda _: key


def _bounded(path: Path) -> bytes:
    # Not to be stopped by a pipe that nobody writes to.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise ValueError(f"it is over {MAX_DOCUMENT} octets")
    return content


def _mark(path: Path) -> tuple[int, ...]:
    """Another one when the file is replaced, written, or given to somebody else."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (
        found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode,
    )  # fmt: skip
