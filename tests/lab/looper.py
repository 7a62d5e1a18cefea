"""A workload that never stops: it asks for what it may have and sends, apart from that, what must go nowhere.

Sent into a container as text (`python3 -c`); arguments: host, seconds. Lines on standard output, times in seconds
since the epoch: `ok START END` or `no START END` for each request, `sent TIME COUNT` for packets to forbidden
addresses that the kernel took.
"""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable

HOST, SECONDS = sys.argv[1], float(sys.argv[2])
FORBIDDEN = (("10.0.1.5", 80), ("169.254.169.254", 80), ("45.33.32.156", 443))
CONTEXT = ssl.create_default_context()
END = time.time() + SECONDS


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def ask() -> bool:
    """One HTTPS request without a proxy, on a connection of its own."""
    try:
        with (
            socket.create_connection((HOST, 443), timeout=2) as plain,
            CONTEXT.wrap_socket(plain, server_hostname=HOST) as tls,
        ):
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return tls.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def taken(step: Callable[[], object]) -> int:
    """1 when the kernel took the packet."""
    try:
        step()
    except BlockingIOError:  # a connect under way: its SYN is out
        return 1
    except OSError:
        return 0
    return 1


def trespass() -> int:
    """What the gateway must never let through: private, metadata, literal; a datagram and a SYN each."""
    count = 0
    streams = []
    for target in FORBIDDEN:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            count += taken(lambda: datagram.sendto(b"egress-loop", target))  # noqa: B023 - called at once
        stream = socket.socket()
        stream.setblocking(False)
        count += taken(lambda: stream.connect(target))  # noqa: B023 - called at once
        streams.append(stream)
    time.sleep(0.05)
    for stream in streams:
        taken(lambda: stream.send(b"GET / HTTP/1.0\r\n\r\n"))  # noqa: B023 - called at once
        stream.close()
    return count


def trespass_on() -> None:
    while time.time() < END:
        now = time.time()
        say("sent", now, trespass())


threading.Thread(target=trespass_on).start()
while time.time() < END:
    start = time.time()
    good = ask()
    say("ok" if good else "no", start, time.time())
    time.sleep(0.02)
