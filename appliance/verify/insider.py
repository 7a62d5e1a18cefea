"""What a worker of ours that was taken over could say to the broker, in the standard library alone.

The text of this module runs in the gateway's namespace as one of our uids (`python3 -c`); arguments: what to
do, and a JSON object that says with what. `REACHED` is in a line when the broker did what it should not.
"""

import array
import contextlib
import json
import socket
import struct
import sys
import threading
from typing import Any

SECONDS = 8.0
WORKER = 4711  # no worker of the instance has that number
Spec = dict[str, Any]


def connected(path: str) -> socket.socket:
    """To one of the broker's sockets."""
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(SECONDS)
    found.connect(path)
    return found


def handed_over(spec: Spec, word: Spec) -> str:
    """A request handed over with this word on whose it is: status and reason, or how it ended."""
    request = word.pop("request", spec["request"])
    with connected(spec["calls"]) as broker:
        broker.sendall(json.dumps(word).encode() + b"\n" + request.encode())
        answer = b""
        try:
            while piece := broker.recv(65536):
                answer += piece
                if b"\r\n\r\n" in answer and not answer.startswith(b"HTTP/1.1 2"):
                    break
                if b"hello from" in answer:
                    break
        except OSError as error:
            return f"refused {type(error).__name__}"
    if not answer:
        return "refused, closed"
    status = answer[9:12].decode()
    if status.startswith("2"):
        return f"REACHED {status}"
    return f"refused {status} {answer.partition(b'reason')[2][:40]!r}"


def call(spec: Spec) -> None:
    """Each of label → members of the word that are said otherwise."""
    for label, members in spec["words"].items():
        try:
            told = handed_over(spec, {**spec["word"], **members})
        except OSError as error:
            told = f"refused {type(error).__name__}"
        sys.stdout.write(f"{label}: {told}\n")


class Dialler:
    """A worker that dials: it finds what the spec says, and connects to where the spec leads."""

    def __init__(self, spec: Spec) -> None:
        self.broker = connected(spec["dials"])
        self.found: list[str] = spec["found"]
        self.lead: str = spec.get("lead", "")
        self.asked_for: list[str] = []
        self.ways: list[socket.socket] = []
        self.broker.sendall(json.dumps({"worker": WORKER}).encode() + b"\n")

    def serve(self) -> None:
        """Answer what the broker asks, until it hangs up."""
        try:
            with self.broker, self.broker.makefile("rb") as lines:
                for line in lines:
                    self._answer(json.loads(line))
        except (OSError, ValueError):
            return

    def _answer(self, asked: Spec) -> None:
        told: Spec = {"id": asked.get("id"), "ok": True}
        if asked["op"] == "find":
            self.broker.sendall(json.dumps({**told, "addresses": self.found}).encode() + b"\n")
        elif asked["op"] == "dial":
            self.asked_for += asked["addresses"]
            way = socket.create_connection((self.lead, asked["port"]), SECONDS)
            self.ways.append(way)  # kept, to see what becomes of it
            line = json.dumps({**told, "address": asked["addresses"][0]}).encode() + b"\n"
            rights = array.array("i", [way.fileno()])
            self.broker.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def spoken(self) -> bool:
        """Whether anybody has written to where it led (`tcpi_data_segs_out` of linux/tcp.h)."""
        told = [way.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192) for way in self.ways]
        return any(struct.unpack_from("=I", each, 156)[0] for each in told)


def dial(spec: Spec) -> None:
    """Be a worker that dials, and hand over a call for which it has to: `before` uses up what rests."""
    for request in spec.get("before", ()):
        handed_over(spec, {**spec["word"], "request": request})
    dialler = Dialler(spec)
    serving = threading.Thread(target=dialler.serve, daemon=True)
    serving.start()
    told = handed_over(spec, {**spec["word"], "worker": WORKER})
    sys.stdout.write(f"call: {told}\n")
    if spec.get("unwanted") and dialler.asked_for:
        sys.stdout.write(f"REACHED: the broker wants to be connected to {dialler.asked_for}\n")
    if spec.get("unheard") and dialler.spoken():
        sys.stdout.write("REACHED: the broker spoke to whom it was led to\n")
    for way in dialler.ways:
        way.close()
    with contextlib.suppress(OSError):
        dialler.broker.shutdown(socket.SHUT_RDWR)
    serving.join(SECONDS)


WAYS = {"call": call, "dial": dial}


def main() -> None:
    """Do as told."""
    WAYS[sys.argv[1]](json.loads(sys.argv[2]))


if __name__ == "__main__":
    main()
