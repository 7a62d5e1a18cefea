"""A plumbing by hand: veth pairs into a plain namespace, nothing filtered. Links are remembered in a file."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netns.plumbing import Attached, Attachment, Network


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


class VethPlumbing:
    def __init__(self, gateway: str, state: Path) -> None:
        self.gateway = gateway
        self.state = state
        self.described: dict[str, tuple[str, str, str]] = {}
        self.net: dict[str, Network] = {}
        self.links: dict[str, Attachment] = {}
        if state.exists():
            saved = json.loads(state.read_text())
            for entry in saved["net"]:
                entry |= {"pool": IPv4Network(entry["pool"]), "gateway": IPv4Address(entry["gateway"])}
                self.net[entry["id"]] = Network(**entry)
            for entry in saved["links"]:
                entry["address"] = IPv4Address(entry["address"])
                self.links[entry["endpoint"]] = Attachment(**entry)

    def save(self) -> None:
        saved = {
            "net": [asdict(network) for network in self.net.values()],
            "links": [asdict(link) for link in self.links.values()],
            "described": self.described,
        }
        temporary = self.state.with_suffix(".new")
        temporary.write_text(json.dumps(saved, default=str))
        temporary.replace(self.state)

    async def add_network(self, network: Network) -> None:
        self.net[network.id] = network
        ip("-n", self.gateway, "route", "replace", "local", str(network.pool), "dev", "lo")
        self.save()

    async def remove_network(self, network: str) -> None:
        gone = self.net.pop(network, None)
        if gone is not None:
            ip("-n", self.gateway, "route", "del", "local", str(gone.pool), "dev", "lo", check=False)
            self.save()

    async def attach(self, attachment: Attachment) -> Attached:
        ours, theirs = "t-" + attachment.endpoint[:12], "c-" + attachment.endpoint[:12]
        ip(
            "link",
            "add",
            theirs,
            "address",
            attachment.mac,
            "type",
            "veth",
            "peer",
            ours,
            "netns",
            self.gateway,
        )
        ip("-n", self.gateway, "link", "set", ours, "up")
        ip("-n", self.gateway, "route", "add", str(attachment.address), "dev", ours)
        self.links[attachment.endpoint] = attachment
        self.save()
        return Attached(theirs, self.net[attachment.network].gateway)

    async def detach(self, endpoint: str) -> None:
        if self.links.pop(endpoint, None) is not None:
            ip("-n", self.gateway, "link", "del", "t-" + endpoint[:12], check=False)
            self.save()

    async def depart(self, endpoint: str) -> None:
        await self.detach(endpoint)

    async def describe(self, endpoint: str, *, container: str, name: str, run: str) -> None:
        self.described[endpoint] = (container, name, run)
        self.save()

    def networks(self) -> tuple[Network, ...]:
        return tuple(self.net.values())

    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(self.links.values())
