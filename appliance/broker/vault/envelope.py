"""How one version of one secret is sealed; pure, octets in and octets out.

Each version has a random data key of its own. The data key seals the secret, the key-encryption key (KEK)
wraps the data key; both with AES-256-GCM (NIST SP 800-38D) and a random 96-bit nonce. A data key seals once;
one KEK may wrap 2**32 data keys (SP 800-38D, section 8.3), which no vault comes near.

    sealed  = nonce (12) || AES-256-GCM(data key, secret)   || tag (16)
    wrapped = nonce (12) || AES-256-GCM(KEK, data key (32)) || tag (16)

The associated data of both say which secret it is and which of the two this is, each field with its length
before it, so that no two places have the same octets. Whatever was moved to another tenant, integration,
name, version or kind, and whatever has one bit changed, does not open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = 32
NONCE = 12
TAG = 16

Random = Callable[[int], bytes]
"""So many unpredictable octets (`secrets.token_bytes`)."""


class Damaged(Exception):
    """Sealed octets do not open: changed, moved, cut, or of another key. Which of these cannot be told."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which version of which secret: what its sealed octets are bound to."""

    tenant: str
    integration: str
    name: str
    version: int
    kind: str

    def bound(self, purpose: str) -> bytes:
        """The associated data for `purpose`."""
        fields = (purpose, self.tenant, self.integration, self.name, str(self.version), self.kind)
        return bound("egress vault 1", *fields)


@lru_cache(maxsize=512)
def bound(*fields: str) -> bytes:
    """The fields as octets, each after its length in four octets: two lists never give the same.

    Calls ask for the same names again: the cache spares each 10 us.
    """
    encoded = [field.encode() for field in fields]
    return b"".join(len(octets).to_bytes(4, "big") + octets for octets in encoded)


class KeyEncryption(Protocol):
    """What holds the KEK: our own memory, or a PKCS#11 token or KMS which never gives it away.

    `associated` must be authenticated with the data key. Calls may block, in any thread.
    """

    def wrap(self, data_key: bytes | bytearray, associated: bytes) -> bytes:
        """Encrypt a data key. Raises `VaultError` when the holder cannot be asked."""

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytearray:
        """The data key again. Raises `Damaged`, or `VaultError` when the holder cannot be asked."""

    def close(self) -> None:
        """Forget the key as far as we hold it."""


class LocalKey:
    """A KEK in our own memory, overwritten by `close`."""

    def __init__(self, key: bytearray, random: Random) -> None:
        """Take over `key`, 32 octets."""
        if len(key) != KEY:
            raise ValueError("a KEK has 32 octets")
        self._key = key
        self._random = random

    def wrap(self, data_key: bytes | bytearray, associated: bytes) -> bytes:
        """Encrypt a data key."""
        nonce = self._random(NONCE)
        return nonce + AESGCM(self._key).encrypt(nonce, data_key, associated)

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytearray:
        """The data key again. Raises `Damaged`."""
        if len(wrapped) != NONCE + KEY + TAG:
            raise Damaged
        return _opened(self._key, wrapped, associated)

    def close(self) -> None:
        """Overwrite the key; what it wrapped does not open any more."""
        clear(self._key)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is stored of one version."""

    wrapped: bytes
    sealed: bytes


def seal(kek: KeyEncryption, place: Place, plaintext: bytes | bytearray, random: Random) -> Sealed:
    """Seal `plaintext` under a new data key."""
    data_key = bytearray(random(KEY))
    try:
        nonce = random(NONCE)
        sealed = nonce + AESGCM(data_key).encrypt(nonce, plaintext, place.bound("secret"))
        return Sealed(kek.wrap(data_key, place.bound("data key")), sealed)
    finally:
        clear(data_key)


def unseal(kek: KeyEncryption, place: Place, sealed: Sealed) -> bytearray:
    """The plaintext, in a buffer that the caller clears. Raises `Damaged`."""
    data_key = kek.unwrap(sealed.wrapped, place.bound("data key"))
    try:
        if len(data_key) != KEY:
            raise Damaged
        return _opened(data_key, sealed.sealed, place.bound("secret"))
    finally:
        clear(data_key)


def rewrap(old: KeyEncryption, new: KeyEncryption, place: Place, wrapped: bytes) -> bytes:
    """The same data key under another KEK. Raises `Damaged`."""
    associated = place.bound("data key")
    data_key = old.unwrap(wrapped, associated)
    try:
        return new.wrap(data_key, associated)
    finally:
        clear(data_key)


def clear(buffer: bytearray) -> None:
    """Overwrite in place; the buffer keeps its length."""
    buffer[:] = bytes(len(buffer))


def _opened(key: bytearray, octets: bytes, associated: bytes) -> bytearray:
    if len(octets) < NONCE + TAG:
        raise Damaged
    buffer = bytearray(len(octets) - NONCE - TAG)
    try:
        AESGCM(key).decrypt_into(octets[:NONCE], octets[NONCE:], associated, buffer)
    except InvalidTag:
        clear(buffer)
        raise Damaged from None
    return buffer
