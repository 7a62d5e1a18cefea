"""A name server that rebinds: TTL 0, first a public address, then a private one, in turn (attack B7)."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from tests.lab import internet


def answer(query: dns.message.Message, addresses: Iterator[str]) -> dns.message.Message:
    """The next address for an A question, nothing for another type."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    question = query.question[0]
    if question.rdtype == dns.rdatatype.A:
        response.answer.append(dns.rrset.from_text(question.name, 0, "IN", "A", next(addresses)))
    return response


def main() -> None:
    """Serve until killed."""
    addresses = itertools.cycle((internet.WWW.address, internet.PRIVATE))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((internet.REBIND_SERVER, internet.REBIND_PORT))
        print("ready", flush=True)
        while True:
            data, peer = server.recvfrom(4096)
            query = dns.message.from_wire(data)
            server.sendto(answer(query, addresses).to_wire(), peer)


if __name__ == "__main__":
    main()
