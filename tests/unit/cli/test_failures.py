"""Every error is a line with its mend; our own bugs are no exception."""

from __future__ import annotations

import errno
import os

import click
import docker.errors
import pytest

from appliance.cli import failures
from appliance.cli.failures import SOFTWARE, Failure, require_root, told
from appliance.docker_host import DockerUnavailable
from appliance.settings import SettingsError


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (Failure("said; do", 3), "said; do", 3),
        (SettingsError("egress.yaml:1:1: no; write yes"), "egress.yaml:1:1: no; write yes", 2),
        (DockerUnavailable("no engine; start it"), "no engine; start it", 1),
        (
            docker.errors.APIError("500", explanation="pool overlaps"),
            "Docker refuses: pool overlaps; mend that, then run it again",
            1,
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/var/log/egress"),
            "/var/log/egress: Permission denied; run it as root: sudo egress …",
            1,
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/etc/egress/a"),
            "/etc/egress/a: No space left on device; make room there, then run it again",
            1,
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/etc/egress/a"),
            "/etc/egress/a: Read-only file system; mount it writable, or set another path in the settings",
            1,
        ),
        (
            OSError(errno.EIO, "Input/output error", "/a"),
            "/a: Input/output error; mend that, then run it again",
            1,
        ),
        (click.UsageError("No such option: --x"), "No such option: --x", 2),
    ],
)
def test_what_an_error_means_to_the_person(error: Exception, message: str, code: int) -> None:
    failure = told(error)
    assert (failure.message, failure.exit_code) == (message, code)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(UnicodeDecodeError) as undecodable:
        b"\xff".decode()
    assert "save the file, or write the argument, as UTF-8" in told(undecodable.value).message


def test_our_own_bug_is_a_line_and_the_way_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(failures.DEBUG_VARIABLE, raising=False)
    failure = told(IndexError("list index out of range"))
    assert failure.exit_code == SOFTWARE
    assert "IndexError" in failure.message
    assert failures.DEBUG_VARIABLE in failure.message
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(failures.DEBUG_VARIABLE, "1")
    told(IndexError("list index out of range"))
    assert "IndexError" in capsys.readouterr().err


def test_a_command_for_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Failure, match="egress up needs root; run: sudo egress up"):
        require_root("egress up")
