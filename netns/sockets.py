"""Closes connections in the namespace of the calling thread (inet_diag's SOCK_DESTROY, by ss(8))."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address

from appliance.processes import SQUID_PORT

_TIMEOUT = 5  # seconds; ss answers in milliseconds


def close_answers(container: IPv4Address) -> None:
    """End every connection that Squid has with a container's address, accepted or waiting.

    Needs a kernel with CONFIG_INET_DIAG_DESTROY, as Debian's; on another one nothing is closed, and what
    Squid still sends is dropped by its mark (chain `leave-as-proxy`). Raises `OSError` when there is no ss.
    """
    command = ["ss", "-K", "-t", "-n", "-H", "dst", str(container), "sport", "=", f":{SQUID_PORT}"]
    try:
        subprocess.run(command, check=False, capture_output=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"ss did not answer within {_TIMEOUT} s") from error
