"""What a container may bind when the tenant can exchange what lies in its workspace (A26)."""

from __future__ import annotations

import os

import pytest
from own_engine import HARDENED, IMAGE, OwnEngine

pytestmark = pytest.mark.system


def test_a_workspace_as_a_whole_and_nothing_below_it(engine: OwnEngine) -> None:
    """dockerd resolves the path again after we have looked: below, a tenant may have changed it by then."""
    workspace = engine.directory / "state/tenants/acme/workspace"
    (workspace / "sub").mkdir(parents=True, exist_ok=True)
    os.chown(workspace, 1000, 1000)
    assert engine.run("--volume", f"{workspace}:/w", IMAGE, "id", "-u").stdout == "1000\n"
    command = ("create", "--network", "acme", *HARDENED, "--volume", f"{workspace}/sub:/x", IMAGE, "true")
    refused = engine.docker(*command, check=False)
    assert refused.returncode != 0
    assert "others than root may exchange entries of" in refused.stderr
