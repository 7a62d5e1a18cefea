"""How a command ends when it cannot go on: one line with the mend, exit code not 0, never a traceback."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback
from typing import Any

import click

from appliance.explained import Explained
from appliance.settings import SettingsError

SOFTWARE = 70  # EX_SOFTWARE of sysexits.h: our own fault
DEBUG_VARIABLE = "EGRESS_TRACEBACK"

_MENDS = {
    errno.EACCES: "run it as root: sudo egress …",
    errno.EPERM: "run it as root: sudo egress …",
    errno.ENOSPC: "make room there, then run it again",
    errno.EDQUOT: "make room there, then run it again",
    errno.EROFS: "mount it writable, or set another path in the settings",
    errno.ENOENT: "mend the path, then run it again",
    errno.ENOTDIR: "mend the path, then run it again",
    errno.EISDIR: "name a file, not a directory",
}


class Failure(click.ClickException):
    """A failure with its mend: printed as `egress: …`, exit code 1 (or the one given).

    With --json standard output gets one document as well: {"error": text, "exit_code": number}.
    """

    as_json = False

    def __init__(self, message: str, exit_code: int = 1) -> None:
        """`message` says what is wrong and what to do."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it on the class, reads it on self

    def show(self, file: Any = None) -> None:
        """Print every line of the message with our name in front."""
        del file
        for line in self.message.splitlines():
            click.echo(f"egress: {line}", err=True)
        if self.as_json:
            with contextlib.suppress(OSError):  # standard output itself may be what failed
                click.echo(json.dumps({"error": self.message, "exit_code": self.exit_code}, indent=2))


def require_root(command: str) -> None:
    """Raise `Failure` unless the caller is root. `command` is what was typed, for example `egress up`."""
    if os.geteuid() != 0:
        raise Failure(f"{command} needs root; run: sudo {command}")


def told(error: Exception) -> Failure:
    """What `error` means to the person at the terminal."""
    match error:
        case Failure():
            return error
        case click.exceptions.NoArgsIsHelpError():
            where = error.ctx.command_path if error.ctx else "egress"
            return Failure(f"{where} needs a command; see: {where} --help", error.exit_code)
        case click.ClickException():
            return Failure(error.format_message(), error.exit_code)
        case SettingsError():
            return Failure(str(error), exit_code=2)
        case Explained():
            return Failure(str(error))
        case _ if (said := _docker_says(error)) is not None:
            return Failure(f"Docker refuses: {said}; mend that, then run it again")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            mend = _MENDS.get(error.errno or 0, "mend that, then run it again")
            return Failure(f"{where}{error.strerror or error}; {mend}")
        case UnicodeError():
            return Failure(f"not UTF-8 text: {error}; save the file, or write the argument, as UTF-8")
        case _:
            return _own_fault(error)


def _docker_says(error: Exception) -> str | None:
    """The words of Docker when `error` is its answer: who has met one has imported the SDK (0.2 s)."""
    sdk = sys.modules.get("docker.errors")
    if sdk is None or not isinstance(error, sdk.APIError):
        return None
    return str(error.explanation or error)


def _own_fault(error: Exception) -> Failure:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    return Failure(
        f"internal fault ({type(error).__name__}: {error}); see where with {DEBUG_VARIABLE}=1 and report it",
        exit_code=SOFTWARE,
    )
