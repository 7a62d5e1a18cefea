"""A workload that takes all it can get. Sent into a container as text (`python3 -c`); arguments: host, seconds for
each kind, kinds (`requests`, `connections`, `dns`, `bytes`). One line of JSON for each kind: statuses of the answers
by count, and of the refusals the reasons and the least and greatest Retry-After. Nothing in it is without a bound.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

HOST, SECONDS, KINDS = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
THREADS = 8
HELD = 1500


class Seen:
    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.waits: list[int] = []
        self._lock = threading.Lock()

    def answer(self, text: bytes) -> None:
        head, _, body = text.partition(b"\r\n\r\n")
        status = head[9:12].decode("ascii", "replace") or "none"
        with self._lock:
            self.statuses[status] += 1
            if status == "429":
                self.reasons[json.loads(body)["reason"]] += 1
                self.waits += [
                    int(x[13:]) for x in head.split(b"\r\n") if x.lower().startswith(b"retry-after: ")
                ]

    def line(self, kind: str) -> str:
        waits = [min(self.waits), max(self.waits)] if self.waits else []
        return json.dumps({"kind": kind, "statuses": self.statuses, "reasons": self.reasons, "waits": waits})


def ask(seen: Seen, target: str) -> None:
    """One request on a connection of its own, read to its end."""
    try:
        with socket.create_connection((ADDRESS, 80), timeout=5) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            text = b""
            while piece := connection.recv(65536):
                text += piece
        seen.answer(text)
    except OSError as error:
        seen.statuses[type(error).__name__] += 1


def in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def requests(seen: Seen) -> None:
    end = time.monotonic() + SECONDS

    def work() -> None:
        while time.monotonic() < end:
            ask(seen, "/")

    in_threads(work)


def connections(seen: Seen) -> None:
    """Open many and keep them; who is turned away is told so without having asked."""
    end = time.monotonic() + SECONDS
    held: list[socket.socket] = []
    while time.monotonic() < end and len(held) < HELD:
        try:
            held.append(socket.create_connection((ADDRESS, 80), timeout=1))
        except OSError as error:
            seen.statuses[type(error).__name__] += 1
    time.sleep(1)  # what the kernel has taken, the gateway has accepted by then
    for connection in held:
        connection.setblocking(False)
        try:
            text = connection.recv(65536)
        except BlockingIOError:
            seen.statuses["held"] += 1
        except OSError as error:
            seen.statuses[type(error).__name__] += 1
        else:
            seen.answer(text)
        connection.close()


def dns(seen: Seen) -> None:
    """As many questions as leave the machine; `answered` counts answers, `refused` those that say only that."""
    end = time.monotonic() + SECONDS
    labels = b"".join(bytes([len(part)]) + part for part in HOST.encode().split(b".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect((ADDRESS, 53))
        number = 0
        while time.monotonic() < end:
            number = (number + 1) & 0xFFFF
            try:
                asking.send(number.to_bytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\1\0\1")
                seen.statuses["asked"] += 1
                rcode = asking.recv(2048)[3] & 15
                seen.statuses["answered" if rcode == 0 else "refused"] += 1
            except OSError:
                pass


def bytes_out(seen: Seen) -> None:
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end and not seen.statuses["429"]:
        number += 1
        ask(seen, "/echo?x=" + "a" * 6000 + str(number))
        time.sleep(0.2)


with socket.create_connection((HOST, 80), timeout=10) as first:
    ADDRESS = first.getpeername()[0]
FLOODS = {"requests": requests, "connections": connections, "dns": dns, "bytes": bytes_out}
for name in KINDS:
    outcome = Seen()
    FLOODS[name](outcome)
    sys.stdout.write(outcome.line(name) + "\n")
    sys.stdout.flush()
    time.sleep(1.5)  # the second over which rates are counted, and its fading
