"""Only what nobody but the operator can exchange may be bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netns.driver.inside import Exchangeable, fixed_inside


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    """Directories of ours, in place of root's, around a workspace in which anybody may write."""
    tmp_path.chmod(0o755)
    (tmp_path / "acme").mkdir(mode=0o755)
    (tmp_path / "acme/workspace").mkdir()
    (tmp_path / "acme/workspace").chmod(0o777)
    (tmp_path / "acme/workspace/sub").mkdir()
    (tmp_path / "acme/into").symlink_to("workspace/sub")
    return tmp_path


def test_what_a_tenant_owns_may_be_bound_as_a_whole(tenants: Path) -> None:
    assert fixed_inside(tenants, "/acme/workspace", os.getuid()) == "/acme/workspace"


@pytest.mark.parametrize("path", ["/acme/workspace/sub", "/acme/workspace/sub/../../other", "/acme/into"])
def test_nothing_below_what_a_tenant_may_write(tenants: Path, path: str) -> None:
    """A26: dockerd resolves the path again, and meanwhile `sub` may be a link to the host's root."""
    with pytest.raises(Exchangeable, match="/acme/workspace"):
        fixed_inside(tenants, path, os.getuid())


def test_every_directory_on_the_way_is_the_operators(tenants: Path) -> None:
    with pytest.raises(Exchangeable):
        fixed_inside(tenants, "/acme/workspace", os.getuid() + 1)
    (tenants / "acme").chmod(0o775)
    with pytest.raises(Exchangeable):
        fixed_inside(tenants, "/acme/workspace", os.getuid())
    (tenants / "acme").chmod(0o1777)
    assert fixed_inside(tenants, "/acme/workspace", os.getuid()) == "/acme/workspace"
