"""What a mutation is: a protection, how it is taken away, and the case of the battery that must then fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.verify.case import Layer


class Process(StrEnum):
    """What the names of the processes that read a changed text begin with."""

    GATEWAY = "gateway"
    RESOLVER = "resolver"
    NETD = "netd"
    BROKER = "broker"
    SQUID = "squid"


@dataclass(frozen=True, slots=True)
class Edit:
    """A text of the installed program that stands once in `file`, and what stands there instead."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """`text` with the change. Raises `ValueError` unless there is exactly one place for it."""
        return replaced(self.file, text, self.old, self.new)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Changes to what nft lists of the gateway's table, and commands in its namespace, with what undoes them."""

    rules: tuple[tuple[str, str], ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    undo: tuple[tuple[str, ...], ...] = ()

    def applied(self, listing: str) -> str:
        """The table without the rules. Raises `ValueError` unless each stands there once."""
        for old, new in self.rules:
            listing = replaced("nft list", listing, old, new)
        return listing


@dataclass(frozen=True, slots=True)
class Mutation:
    """One protection, or several that stand for each other, and how to take it away.

    `reached`: whether a canary must be hit (True), must not be for somebody else holds (False), or may be.
    `anew`: it is about how a container is started, so its case needs one that is.
    """

    name: str
    protects: str
    case: str
    edits: tuple[Edit, ...] = ()
    restart: tuple[Process, ...] = (Process.GATEWAY,)
    kernel: Kernel | None = None
    reached: bool | None = None
    each: bool = False
    layer: Layer | None = None
    anew: bool = False

    def parts(self) -> Iterator[Mutation]:
        """With `each`, the same with only one of its changes; else nothing."""
        if not self.each:
            return
        for edit in self.edits:
            yield replace(self, edits=(edit,), each=False)
        if self.kernel is not None:
            for rule in self.kernel.rules:
                yield replace(self, kernel=Kernel((rule,)), each=False)
            for command in self.kernel.commands:
                yield replace(self, kernel=replace(self.kernel, rules=(), commands=(command,)), each=False)


def replaced(where: str, text: str, old: str, new: str) -> str:
    """`text` of `where` with the one change. Raises `ValueError` unless there is exactly one place for it."""
    count = text.count(old)
    if count != 1:
        raise ValueError(f"{where} has {count} places that read {old!r}; a mutation needs one")
    return text.replace(old, new)
