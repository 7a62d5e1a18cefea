"""Section B, Docker's own resolver by its back door: the port that it really listens on.

dockerd answers names inside each sandbox at 127.0.0.11, on a port of its choice, to which it maps port 53. Port 53
leads to the gateway; the other is to be read in the container's own `/proc/net`.
"""

from __future__ import annotations

from appliance.verify.case import Case, Layer, Outcome
from appliance.verify.commands import python
from appliance.verify.world import World

# The container's own name is one that dockerd answers by itself: nothing of the question could leave.
_ASK = (
    "import socket, struct\n"
    "name = socket.gethostname().encode()\n"
    "question = struct.pack('>6H', 7, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name + b'\\0\\0\\1\\0\\1'\n"
    "for way, form in (('udp', socket.SOCK_DGRAM), ('tcp', socket.SOCK_STREAM)):\n"
    "    with open(f'/proc/net/{way}') as table: local = [line.split()[1] for line in table][1:]\n"
    "    ports = {int(place[9:], 16) for place in local if place.startswith('0B00007F:')}\n"
    "    print(way, 'listens' if ports else 'is not there')\n"
    "    for port in ports:\n"
    "        with socket.socket(type=form) as asking:\n"
    "            asking.settimeout(1)\n"
    "            try:\n"
    "                asking.connect(('127.0.0.11', port))\n"
    "                asking.send(question if way == 'udp' else struct.pack('>H', len(question)) + question)\n"
    "                print(way, 'ANSWERED', len(asking.recv(512)))\n"
    "            except OSError as error: print(way, 'closed', error)\n"
)


def rows(_world: World) -> list[Case]:
    """The row beside those of B9."""
    return [
        Case("B9-back-door", "Docker's own resolver at the port that it listens on", Outcome.REFUSED, python(_ASK), (),
             expect=("udp listens", "udp closed", "tcp listens", "tcp closed"), forbid=("ANSWERED",),
             layers=frozenset(Layer)),
    ]  # fmt: skip
