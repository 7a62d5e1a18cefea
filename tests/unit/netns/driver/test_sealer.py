"""What cannot be sealed is an error that names the sandbox; what a child cannot read is not sealed."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netns.driver import sealer
from netns.driver.seal import seal_table
from netns.driver.sealer import SealFailed, holds, seal, seal_again

GATEWAY = IPv4Address("172.29.0.1")


def test_a_sandbox_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SealFailed, match=r"cannot seal the embedded DNS in .*none"):
        seal(tmp_path / "none", GATEWAY)
    assert not holds(tmp_path / "none", GATEWAY)


def test_a_file_that_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SealFailed):
        seal(tmp_path / "file", GATEWAY)


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give what is run in place of nsenter, and so of all that it starts."""

    def does(script: str) -> None:
        program = tmp_path / "nsenter"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        path = f"{tmp_path}:{sealer._ENVIRONMENT['PATH']}"
        monkeypatch.setitem(sealer._ENVIRONMENT, "PATH", path)

    return does


SEALED = f"cat <<'END'\n1\n{seal_table(GATEWAY)}END"


def test_what_the_child_lists_is_compared(child: Callable[[str], None]) -> None:
    child(SEALED)
    assert holds(Path("sandbox"), GATEWAY)
    assert not holds(Path("sandbox"), IPv4Address("172.29.0.2"))


@pytest.mark.parametrize(
    "end",
    [
        "exit 1",
        "kill -ABRT $$",
        "kill -SEGV $$",
        "yes",
        "yes >&2",
        "while :; do :; done",
        "x=x; while :; do x=$x$x$x$x; done",
    ],
)
def test_a_child_that_ends_otherwise_is_no_seal_whatever_it_listed(
    child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    child(f"{SEALED}\n{end}")
    monkeypatch.setattr(sealer, "TIMEOUT", 2.0)
    assert not holds(Path("sandbox"), GATEWAY)
    with pytest.raises(SealFailed, match="cannot seal the embedded DNS in sandbox"):
        seal_again(Path("sandbox"), GATEWAY)


def test_what_a_child_has_started_ends_with_it(
    child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sealer, "TIMEOUT", 0.5)
    child(f"sleep 100 & echo $! > {tmp_path}/started; wait")
    assert not holds(Path("sandbox"), GATEWAY)
    started = Path("/proc") / (tmp_path / "started").read_text().strip() / "stat"
    deadline = time.monotonic() + 10  # a killed process is not at once gone
    while not ended(started):
        assert time.monotonic() < deadline, "what the child has started goes on"
        time.sleep(0.01)


def ended(stat: Path) -> bool:
    try:
        return ") Z " in stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
