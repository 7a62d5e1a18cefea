"""Networks are kept over a restart of the host; what nobody of ours wrote counts for nothing."""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netns.kept_networks import FILE, LONGEST, NetworksFile, NetworksUnreadable
from netns.plumbing import Network

NETWORK = Network("a" * 64, "acme", IPv4Network("172.31.0.0/24"), IPv4Address("172.31.0.1"))
WRITTEN = {"id": "a" * 64, "tenant": "acme", "pool": "172.31.0.0/24", "gateway": "172.31.0.1"}


@pytest.fixture
def file(tmp_path: Path) -> NetworksFile:
    return NetworksFile(tmp_path, os.getuid())


def test_what_was_kept_is_there_at_the_next_start(file: NetworksFile, tmp_path: Path) -> None:
    assert file.read() == ()
    file.keep([NETWORK])
    assert NetworksFile(tmp_path, os.getuid()).read() == (NETWORK,)
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / f".{FILE}.draft").write_text("half")
    file.keep([])
    assert file.read() == ()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}x", b"null", b"[1]", b"[null]", b'["a"]', b"\xff", b"[{}]", b"[" * 200_000, b" " * (LONGEST + 1),
        *(json.dumps([WRITTEN | wrong]).encode() for wrong in (
            {"id": "A" * 64}, {"id": "a" * 63}, {"id": 1}, {"tenant": "../x"}, {"pool": "172.31.0.1/24"},
            {"pool": 5}, {"gateway": 5}, {"gateway": "::1"}, {"gateway": ""},
        )),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_the_mend(file: NetworksFile, tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(NetworksUnreadable, match="remove it"):
        file.read()


def test_a_file_that_others_may_write_is_not_believed(file: NetworksFile, tmp_path: Path) -> None:
    file.keep([NETWORK])
    (tmp_path / FILE).chmod(0o620)
    with pytest.raises(NetworksUnreadable, match="others than uid"):
        file.read()
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(NetworksUnreadable, match="others than uid"):
        NetworksFile(tmp_path, os.getuid() + 1).read()


def test_a_link_and_a_pipe_are_not_believed(file: NetworksFile, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("[]")
    (tmp_path / FILE).symlink_to(tmp_path / "other")
    with pytest.raises(NetworksUnreadable):
        file.read()
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(NetworksUnreadable, match="no regular file"):
        file.read()
