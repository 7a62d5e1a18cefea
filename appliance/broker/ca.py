"""The root CA on disk: made at the first start, checked at every one, its key readable by the broker alone.

    <ca_dir>/root.key   0600, PKCS #8 PEM, owned by the broker's uid
    <ca_dir>/root.crt   0644, PEM: what workloads trust

Each file is written whole beside its place, synced, and linked into it, key first; so a crash or a full disk
leaves either nothing, or a key whose certificate nobody has seen and is then made from it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from appliance.broker.private_file import MAX_FILE, draft_name, publish
from appliance.tls.authority import INTERMEDIATE_LIFE, issue_intermediate, issue_root, new_key

KEY_FILE = "root.key"
CERTIFICATE_FILE = "root.crt"
EXPIRY_WARNING = timedelta(days=30)


class CaError(Exception):
    """The root CA cannot be used; `str()` is one sentence that names the object, and the mend."""


@dataclass(frozen=True, slots=True)
class RootAuthority:
    """The root's key and certificate."""

    instance: str
    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    def sign(self, csr: str, now: datetime) -> x509.Certificate:
        """An intermediate for the PEM request. Raises `ValueError` (`InvalidSigningRequest` is one)."""
        try:
            request = x509.load_pem_x509_csr(csr.encode("ascii"))
            return issue_intermediate(self.certificate, self.key, request, self.instance, now)
        except (UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise ValueError(str(error)) from error

    def expires_soon(self, now: datetime) -> bool:
        """Whether the operator should be told to plan the next root."""
        return now + EXPIRY_WARNING > self.certificate.not_valid_after_utc


def open_authority(directory: Path, instance: str, now: datetime) -> RootAuthority:
    """The root CA in `directory`, made now if there is none. Raises `CaError`; then nothing was half done."""
    try:
        _check_directory(directory)
        for name in (KEY_FILE, CERTIFICATE_FILE):
            (directory / draft_name(name)).unlink(missing_ok=True)
        key_path, certificate_path = directory / KEY_FILE, directory / CERTIFICATE_FILE
        if certificate_path.is_symlink() or certificate_path.exists():
            return _existing(key_path, certificate_path, instance, now)
        fresh = not key_path.is_symlink() and not key_path.exists()
        key = new_key() if fresh else _read_key(key_path)
        certificate = issue_root(key, instance, now)
        if fresh:
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            publish(directory, KEY_FILE, pem, 0o600)
        publish(directory, CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM), 0o644)
    except OSError as error:
        raise CaError(_explain(directory, error)) from error
    return RootAuthority(instance, key, certificate)


def _existing(key_path: Path, certificate_path: Path, instance: str, now: datetime) -> RootAuthority:
    if not key_path.is_symlink() and not key_path.exists():
        raise CaError(
            f"{key_path}: missing, but {certificate_path.name} exists; restore the key, or remove"
            f" {certificate_path} to begin a new CA (workloads must then fetch the new trust bundle)"
        )
    key = _read_key(key_path)
    try:
        certificate = x509.load_pem_x509_certificate(_read(certificate_path))
    except ValueError as error:
        raise CaError(f"{certificate_path}: not a PEM certificate; restore it, or {_REMOVE_BOTH}") from error
    if certificate.public_key() != key.public_key():
        raise CaError(f"{certificate_path}: does not belong to {key_path}; restore both, or {_REMOVE_BOTH}")
    if now + INTERMEDIATE_LIFE > certificate.not_valid_after_utc:
        end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise CaError(f"{certificate_path}: expires on {end}, too soon to sign anything; {_REMOVE_BOTH}")
    if now < certificate.not_valid_before_utc:
        raise CaError(f"{certificate_path}: not valid yet; set the clock of this machine")
    return RootAuthority(instance, key, certificate)


def _check_directory(directory: Path) -> None:
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise CaError(f"{directory}: not a directory; move it away")
    if found.st_uid not in (0, os.geteuid()):
        raise CaError(f"{directory}: owned by uid {found.st_uid}; run: chown {os.geteuid()} {directory}")
    if found.st_mode & 0o022:
        raise CaError(f"{directory}: others may write to it; run: chmod 755 {directory}")


def _read_key(path: Path) -> EllipticCurvePrivateKey:
    pem = _read(path, private=True)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise CaError(f"{path}: not an unencrypted PEM private key; restore it, or {_REMOVE_BOTH}") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise CaError(f"{path}: not a P-256 key; restore it, or {_REMOVE_BOTH}")
    return key


def _read(path: Path, *, private: bool = False) -> bytes:
    """Content of a file that is what it should be: checked on the open descriptor, not on the name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CaError(f"{path}: not a regular file; restore it, or {_REMOVE_BOTH}")
        if private and found.st_uid != os.geteuid():
            raise CaError(f"{path}: owned by uid {found.st_uid}; run: chown {os.geteuid()} {path}")
        if private and found.st_mode & 0o077:
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            raise CaError(f"{path}: mode {mode} lets others read the CA's key; run: chmod 600 {path}")
        if not private and found.st_mode & 0o022:
            raise CaError(f"{path}: others may write to it; run: chmod 644 {path}")
        return stream.read(MAX_FILE)


def _explain(directory: Path, error: OSError) -> str:
    where = error.filename or directory
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}: no space left for the CA; free some (df {directory}) and start again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where}: may not be used by uid {os.geteuid()}; run: chown -R {os.geteuid()} {directory}"
    if error.errno == errno.ELOOP:
        return f"{where}: a symbolic link; put the file itself there"
    return f"{where}: {error.strerror}"


_REMOVE_BOTH = (
    "remove root.key and root.crt to begin a new CA (workloads must then fetch the new trust bundle)"
)
