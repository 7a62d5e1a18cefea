"""Commands with a bound in time, and what they said."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A step does not hold; `str()` says what was seen."""


@dataclass(frozen=True, slots=True)
class Said:
    """A command's exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last lines of both, for a report."""
        return "\n".join((self.out + self.err).strip().splitlines()[-12:])


def run(
    *words: str,
    within: float = 60,
    check: bool = True,
    stdin: str | bytes | None = None,
    environment: dict[str, str] | None = None,
) -> Said:
    """Run a command to its end. Raises `Failed` after `within` seconds, and with `check` on another status than 0."""
    given = stdin.encode() if isinstance(stdin, str) else stdin or b""
    try:
        done = subprocess.run(
            words, input=given, capture_output=True, timeout=within, check=False, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(words[:8])}: not done within {within:.0f} s") from None
    except OSError as error:
        raise Failed(f"{words[0]}: {error}") from error
    said = Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    if check and said.status != 0:
        raise Failed(f"{' '.join(words[:8])}: status {said.status}: {said.last}")
    return said
