"""nft in the namespace of the calling thread: load a text, list a table, count.

To see whether a table in the kernel is the one we want, we let nft list both in the same form: the wanted one
after loading it into an empty namespace of its own (which also proves that this kernel can do all of it). The
form is that of `--debug=netlink`, because nft 1.0.6 lists `tproxy to :jhash … map { … }` without its map.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from netns import libnftables, namespaces
from netns.libnftables import Form

_RULE = re.compile(r"(inet|ip) (\S+) (\S+) \d+(?: \d+)?\s*")
_ELEMENT = "\telement "
_DYNAMIC = re.compile(r"\tset (\S+) \{[^}]*?\tflags [a-z,]*\bdynamic\b[^}]*?\n(\t\telements = \{[^}]*\}\n)")
"""A set that rules fill, with what they put into it: state, like a counter's value, no part of the table."""


class NftError(Exception):
    """nft refused; `str()` is what it said, with the mend where we know it."""


def load(text: str) -> None:
    """Check, then load atomically. Raises `NftError`; nothing is changed then."""
    _run(text, check_only=True)
    _run(text)


def change(text: str) -> None:
    """Load atomically what needs no check of its own. Raises `NftError`; nothing is changed then."""
    _run(text)


def listing(family: str, table: str) -> str | None:
    """The table in canonical form, None when there is no such table. Raises `NftError`."""
    try:
        return _normal(_run(f"list table {family} {table}", Form.STATELESS | Form.BYTECODE))
    except NftError as error:
        if "No such file or directory" in str(error):
            return None
        raise


@lru_cache(maxsize=8)
def canonical(family: str, table: str, text: str) -> str:
    """How nft lists `text` back. Raises `NftError` when this kernel or this nft cannot do what it says."""
    with namespaces.scratch():
        try:
            load(text)
        except NftError as error:
            raise NftError(
                f"{error}; the kernel needs nf_tables with nft_tproxy, nft_hash, nft_fib_inet, nft_masq and"
                " nf_conntrack (Debian's kernel has them as modules: modprobe nft_tproxy)"
            ) from error
        found = listing(family, table)
    if found is None:
        raise NftError(f"table {family} {table} is not there after it was loaded")
    return found


def written_out(family: str, table: str) -> str:
    """The table as an operator sees it, all in numbers. Raises `NftError` also when there is none."""
    return _run(f"list table {family} {table}", Form.NUMERIC)


def counters(family: str, table: str) -> dict[str, tuple[int, int]]:
    """Packets and bytes of each named counter; empty when there is no such table. Raises `NftError`."""
    return {
        item["name"]: (int(item["packets"]), int(item["bytes"]))
        for item in _objects("counter", f"list counters table {family} {table}")
    }


def elements(family: str, table: str, name: str) -> list[Any]:
    """Elements of a set as nft's JSON has them; empty when there is none. Raises `NftError`."""
    found: list[Any] = []
    for item in _objects("set", f"list set {family} {table} {name}"):
        found += item.get("elem", [])
    return found


def delete_table(family: str, table: str) -> None:
    """Remove a table; absent is no error. Raises `NftError`."""
    change(f"table {family} {table}\ndelete table {family} {table}\n")


def _objects(kind: str, command: str) -> Iterator[Any]:
    try:
        answer = json.loads(_run(command, Form.JSON))
    except NftError as error:
        if "No such file or directory" in str(error):
            return
        raise
    for item in answer["nftables"]:
        if kind in item:
            yield item[kind]


def _normal(text: str) -> str:
    """Without what differs between two loads of one text: rule handles, the order of a hash set, state."""
    filled = tuple(f" @{found[1]}" for found in _DYNAMIC.finditer(text))
    text = _DYNAMIC.sub(lambda found: found[0].replace(found[2], ""), text)
    lines: list[str] = []
    run: list[str] = []
    heading = ""
    for line in text.splitlines():
        if line.startswith(_ELEMENT):
            if heading.endswith(filled):
                continue
            run.append(line)
            continue
        heading = line
        lines += sorted(run)
        run = []
        rule = _RULE.fullmatch(line)
        lines.append(f"{rule[1]} {rule[2]} {rule[3]}" if rule else line.rstrip())
    return "\n".join(_sorted_lists([*lines, *sorted(run)]))


def _sorted_lists(lines: list[str]) -> Iterator[str]:
    """Each `elements = { … }` of the listing's second half, broken over lines, as one sorted line."""
    inside = ""
    for line in lines:
        inside += line.strip() if inside or line.strip().startswith("elements = {") else ""
        if not inside:
            yield line
        elif line.rstrip().endswith("}"):
            listed = inside.removeprefix("elements = {").removesuffix("}").split(",")
            yield "elements = { " + ", ".join(sorted(item.strip() for item in listed)) + " }"
            inside = ""


def _run(commands: str, form: Form = Form.PLAIN, *, check_only: bool = False) -> str:
    with _reported():
        return libnftables.run(commands, form, check_only=check_only)


class Changes:
    """`change` again and again in the namespace in which this was made; used by one thread."""

    def __init__(self) -> None:
        """Raises `NftError`."""
        with _reported():
            self._context = libnftables.Context()

    def change(self, text: str) -> None:
        """Load atomically what needs no check of its own. Raises `NftError`; nothing is changed then."""
        with _reported():
            self._context.run(text)

    def close(self) -> None:
        """Change nothing more."""
        self._context.close()


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except libnftables.Absent as error:
        raise NftError("nft is not installed; apt-get install nftables") from error
    except libnftables.Refused as error:
        raise NftError(f"nft refused: {str(error)[:500]}") from error
