"""Which of the host's apt sources are Debian's own, as one deb822 document that mmdebstrap reads.

An image is built from what the host's administrator already trusts and reaches (a mirror, a snapshot), so
no registry is named here. An entry counts as Debian's when it is of type `deb`, has component `main` and its
suite is the release itself, its updates or its security suite (sources.list(5)); third parties use suites of
their own. `Trusted: yes` would switch signature checking off, so such an entry is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ETC_APT = Path("/etc/apt")


class NoDebianSource(LookupError):
    """The host has no usable Debian source for the release; `str()` says where to put one."""


@dataclass(frozen=True, slots=True)
class Source:
    """One archive: `options` are further deb822 fields such as Signed-By."""

    uris: str
    suites: tuple[str, ...]
    options: tuple[tuple[str, str], ...]

    def deb822(self) -> str:
        """The stanza, restricted to component main."""
        fields = [
            ("Types", "deb"),
            ("URIs", self.uris),
            ("Suites", " ".join(self.suites)),
            ("Components", "main"),
        ]
        return "".join(f"{name}: {value}\n" for name, value in [*fields, *self.options])


def debian_suites(codename: str) -> frozenset[str]:
    """The suites that Debian publishes for a release."""
    return frozenset({codename, f"{codename}-updates", f"{codename}-security"})


def _source(fields: Mapping[str, str], codename: str) -> Source | None:
    if "deb" not in fields.get("types", "").split() or "main" not in fields.get("components", "").split():
        return None
    if (
        fields.get("enabled", "yes").lower() in {"no", "false", "0"}
        or fields.get("trusted", "no").lower() == "yes"
    ):
        return None
    suites = tuple(s for s in fields.get("suites", "").split() if s in debian_suites(codename))
    if not suites or not fields.get("uris"):
        return None
    options = (("Signed-By", fields["signed-by"]),) if fields.get("signed-by") else ()
    return Source(fields["uris"], suites, options)


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:  # a continuation line, deb822(5)
            fields[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def parse_deb822(text: str, codename: str) -> list[Source]:
    """Debian's entries of a `.sources` file."""
    found = (_source(fields, codename) for fields in _stanzas(text))
    return [source for source in found if source is not None]


def parse_one_line(text: str, codename: str) -> list[Source]:
    """Debian's entries of a `.list` file: `deb [option=value …] uri suite component …`."""
    sources = []
    for line in text.splitlines():
        entry = line.partition("#")[0].strip()
        options: dict[str, str] = {}
        if "[" in entry:
            before, _, rest = entry.partition("[")
            inside, _, after = rest.partition("]")
            options = {k.lower(): v for k, _, v in (o.partition("=") for o in shlex.split(inside))}
            entry = before + after
        words = entry.split()
        if len(words) < 4:
            continue
        fields = {
            "types": words[0],
            "uris": words[1],
            "suites": words[2],
            "components": " ".join(words[3:]),
            **options,
        }
        source = _source(fields, codename)
        if source is not None:
            sources.append(source)
    return sources


def host_sources(codename: str, etc_apt: Path = ETC_APT) -> list[Source]:
    """What the host uses for `codename`. Raises `NoDebianSource`."""
    parts = etc_apt / "sources.list.d"
    sources: list[Source] = []
    for path in [etc_apt / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            sources += parse_one_line(path.read_text(), codename)
    for path in sorted(parts.glob("*.sources")):
        sources += parse_deb822(path.read_text(), codename)
    if not any(codename in source.suites for source in sources):
        raise NoDebianSource(
            f"{etc_apt}: no source for Debian {codename} main; "
            f"mend: add one to {parts}/debian.sources (see sources.list(5))"
        )
    return sources
