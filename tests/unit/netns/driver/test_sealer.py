"""What cannot be sealed is an error that names the sandbox."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netns.driver.sealer import SealFailed, holds, seal

GATEWAY = IPv4Address("172.29.0.1")


def test_a_sandbox_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SealFailed, match=r"cannot seal the embedded DNS in .*none"):
        seal(tmp_path / "none", GATEWAY)
    assert not holds(tmp_path / "none", GATEWAY)


def test_a_file_that_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SealFailed):
        seal(tmp_path / "file", GATEWAY)
