"""Opens the listening sockets of `appliance.processes`: what only a privileged process can."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from appliance.privilege import owning_files_as
from appliance.processes import Listener, SocketKind

BACKLOG = 4096
_SO_RCVBUF = 4 * 1024 * 1024
_IP_PKTINFO = 8  # linux/in.h; Python 3.11 has no name for it
_UNPACED = b"reno"
"""Congestion control of what is accepted from a container (RFC 5681); every kernel has it.

A host whose own is BBR paces each connection by a timer. On a link inside one machine, which loses nothing
and has no rate to be found out, that was most of what a tunnel costs: 0.57 s of a processor a GB, now 0.25.
Towards the Internet it stays what the host has chosen."""


def open_listener(listener: Listener, uid: int) -> int:
    """An open, listening descriptor that belongs to `uid`. Raises `OSError` naming the listener.

    A UDP socket with IP_PKTINFO (ip(7)) learns which address was asked, and answers from it.
    """
    try:
        if listener.kind is SocketKind.UNIX:
            opened = _unix(listener, uid)
        else:
            with owning_files_as(uid):
                opened = _transparent(listener)
    except OSError as error:
        where = listener.path or f"port {listener.port}"
        raise OSError(f"listener {listener.name} ({where}): {error}") from error
    return opened.detach()


def _transparent(listener: Listener) -> socket.socket:
    """IP_TRANSPARENT (ip(7)): take connections and datagrams for any address that nft sends here."""
    datagrams = listener.kind is SocketKind.TPROXY_UDP
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if datagrams:
            opened.setsockopt(socket.SOL_IP, _IP_PKTINFO, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SO_RCVBUF)
        opened.bind(("0.0.0.0", listener.port))  # noqa: S104 - inside a namespace where nft decides what comes in
        if not datagrams:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _UNPACED)  # inherited when accepting
            opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _unix(listener: Listener, uid: int) -> socket.socket:
    assert listener.path is not None  # a table that says otherwise is a bug
    _remove_stale(listener.path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        opened.bind(str(listener.path))
        listener.path.chmod(listener.mode)  # while it is ours: of another's file it wants CAP_FOWNER
        os.chown(listener.path, uid, uid if listener.group is None else listener.group)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    finally:
        os.umask(before)
    return opened


def _remove_stale(path: Path) -> None:
    """Remove a socket on which nobody listens any more; a second instance of a process is refused."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(f"{path} is there and is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            _knock(probe, path, found.st_uid)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise FileExistsError(f"{path}: another process is listening; stop it first (egress down)")


def _knock(probe: socket.socket, path: Path, owner: int) -> None:
    """As ourselves, or, for root without CAP_DAC_OVERRIDE, as the owner, who may not enter everywhere."""
    try:
        probe.connect(str(path))
    except PermissionError:
        with owning_files_as(owner):
            probe.connect(str(path))
