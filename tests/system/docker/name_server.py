"""Answers every A question with 198.51.100.7 and writes each name to a file. Arguments: address, file."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import dns.message
import dns.rrset


def main() -> None:
    address, log = sys.argv[1:]
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND: the pool's route may come later
    server.bind((address, 53))
    print("ready", flush=True)
    while True:
        data, peer = server.recvfrom(4096)
        query = dns.message.from_wire(data)
        name = query.question[0].name
        with Path(log).open("a") as file:
            file.write(f"{name}\n")
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(name, 1, "IN", "A", "198.51.100.7"))
        server.sendto(answer.to_wire(), peer)


main()
