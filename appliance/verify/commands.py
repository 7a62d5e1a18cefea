"""Commands that rows run: the probe, curl through the proxy and past it, a few lines of Python (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.verify import probe as probe_module

PROBE = Path(probe_module.__file__).read_text(encoding="utf-8")
FORM = r"\nstatus %{http_code} type %{content_type}\n"
VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
UNSET = ("env", *(word for name in VARIABLES for word in ("-u", name)))
"""In front of a command: without any proxy variable."""


def probe(*attempts: Sequence[str]) -> tuple[str, ...]:
    """Attempts of `appliance.verify.probe`, all at the same time."""
    words: list[str] = []
    for attempt in attempts:
        words += [",", *attempt] if words else attempt
    return ("python3", "-c", PROBE, *words)


def curl(*arguments: str) -> tuple[str, ...]:
    """Curl that says the status and the kind of the answer, and gives up soon."""
    return ("curl", "--silent", "--show-error", "--connect-timeout", "2", "--max-time", "15",
            "--write-out", FORM, *arguments)  # fmt: skip


def script(*lines: Sequence[str]) -> tuple[str, ...]:
    """Commands one after the other, whatever becomes of each, their errors in the output."""
    return ("sh", "-c", "\n".join(" ".join(map(quoted, line)) for line in lines) + "\n:")


def together(*lines: Sequence[str]) -> tuple[str, ...]:
    """The same, all at once."""
    return ("sh", "-c", "".join(f"{' '.join(map(quoted, line))} &\n" for line in lines) + "wait\n:")


def quoted(word: str) -> str:
    """A word for the shell, as it is; `$HTTP_PROXY` alone is replaced."""
    return f'"{word}"' if word == "$HTTP_PROXY" else "'" + word.replace("'", "'\\''") + "'"


def both_ways(url: str, *options: str) -> tuple[str, ...]:
    """Curl through the proxy variables, then past them."""
    return script(curl(*options, url), curl(*options, "--noproxy", "*", url))


def python(text: str, *arguments: str) -> tuple[str, ...]:
    """A few lines of Python."""
    return ("python3", "-c", text, *arguments)
