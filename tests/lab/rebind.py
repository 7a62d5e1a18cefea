"""A hostile name server: one name that rebinds (attack B7), and names below which every answer is wrong (B11).

The name that rebinds has TTL 0 and is public first, then private, in turn. Of the others the first label says
what is wrong with the answer, `is-10-0-0-1` that it is that address.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.lab import internet

PUBLIC, PRIVATE, DECOY = internet.WWW.address, internet.PRIVATE, internet.DECOY


def answer(query: dns.message.Message, addresses: Iterator[str]) -> dns.message.Message:
    """The next address for an A question, or what the hostile name says; nothing for another type."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    question = query.question[0]
    if question.rdtype != dns.rdatatype.A:
        return response
    if question.name == dns.name.from_text(internet.REBIND_NAME):
        response.answer.append(dns.rrset.from_text(question.name, 0, "IN", "A", next(addresses)))
    else:
        lie(response, question.name)
    return response


def lie(response: dns.message.Message, name: dns.name.Name) -> None:
    """Fill in what the first label of `name` promises."""

    def says(owner: dns.name.Name | str, kind: str, *values: str) -> None:
        response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *values))

    word = name.labels[0].decode().lower()
    if word == "stranger":
        says(f"{internet.OTHER.name}.", "A", DECOY)
    elif word == "extra":
        says(name, "A", PUBLIC)
        says(f"{internet.OTHER.name}.", "A", DECOY)
        response.additional.append(dns.rrset.from_text(f"{internet.OTHER.name}.", 60, "IN", "A", DECOY))
    elif word == "loop":
        says(name, "CNAME", f"again.{internet.HOSTILE_NAME}.")
        says(f"again.{internet.HOSTILE_NAME}.", "CNAME", f"loop.{internet.HOSTILE_NAME}.")
    elif word == "chain":
        links = [name, *(dns.name.from_text(f"c{number}.{internet.HOSTILE_NAME}") for number in range(12))]
        for owner, target in itertools.pairwise(links):
            says(owner, "CNAME", target.to_text())
        says(links[-1], "A", PUBLIC)
    elif word == "many":
        says(name, "A", *(f"93.184.{third}.{last}" for third in (1, 2) for last in range(1, 251)))
    elif word.startswith("is-"):
        says(name, "A", word.removeprefix("is-").replace("-", "."))
    elif word == "private-last":
        says(name, "A", *(f"93.184.1.{last}" for last in range(1, 41)), PRIVATE)
    elif word == "alias-private":
        says(name, "CNAME", "private.example.net.")
        says("private.example.net.", "A", PRIVATE)
    elif word == "not-a-name":
        says(name, "CNAME", "not\\032a\\000name.example.net.")
    elif word == "contradiction":
        response.set_rcode(dns.rcode.NXDOMAIN)
        says(name, "A", PUBLIC)


def main() -> None:
    """Serve until killed."""
    addresses = itertools.cycle((PUBLIC, PRIVATE))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((internet.REBIND_SERVER, internet.REBIND_PORT))
        print("ready", flush=True)
        while True:
            data, peer = server.recvfrom(4096)
            query = dns.message.from_wire(data)
            server.sendto(answer(query, addresses).to_wire(max_size=65535), peer)


if __name__ == "__main__":
    main()
