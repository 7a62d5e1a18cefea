"""The broker's control operations for the CA: status, and signing a worker's intermediate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.control import ControlError, Operation, Peer

if TYPE_CHECKING:
    from appliance.broker.ca import RootAuthority
    from appliance.ipc import Message

MAX_REQUEST = 8 * 1024
"""Characters of a PEM request; one for a P-256 key has about 300."""


class Signing:
    """Signs what the gateway and its fallback ask for, and only what was recorded before."""

    def __init__(self, authority: RootAuthority, audit: AuditLog, now: Callable[[], datetime]) -> None:
        self._authority = authority
        self._audit = audit
        self._now = now

    def operations(self, uids: frozenset[int]) -> Mapping[str, Operation]:
        """The control socket's table; `uids` intercept TLS."""
        return {
            "status": Operation(self.status, uids),
            "sign-intermediate": Operation(self.sign_intermediate, uids),
        }

    def status(self, message: Message, peer: Peer) -> Message:
        """`ready`, and how long the root lives."""
        del message, peer
        certificate = self._authority.certificate
        return {
            "ready": self._audit.ready,
            "root_not_after": certificate.not_valid_after_utc.isoformat(),
            "root_expires_soon": self._authority.expires_soon(self._now()),
        }

    def sign_intermediate(self, message: Message, peer: Peer) -> Message:
        """`csr` (PEM) → `certificate`, `root` (PEM), `not_after` (RFC 3339). Raises `ControlError`."""
        csr = message.get("csr")
        if not isinstance(csr, str) or len(csr) > MAX_REQUEST:
            raise ControlError("invalid-request", "`csr` must be a PEM certificate signing request")
        try:
            certificate = self._authority.sign(csr, self._now())
        except ValueError as error:
            raise ControlError("invalid-request", f"the signing request cannot be used: {error}") from error
        try:
            self._audit.write(
                LifecycleRecord(
                    event="intermediate-signed",
                    subject=f"{certificate.serial_number:x}",
                    detail=f"for pid {peer.credentials.pid} of uid {peer.credentials.uid}",
                )
            )
        except AuditUnavailable as error:
            raise ControlError("audit-unavailable", str(error)) from error
        return {
            "certificate": certificate.public_bytes(Encoding.PEM).decode("ascii"),
            "root": self._authority.certificate.public_bytes(Encoding.PEM).decode("ascii"),
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
