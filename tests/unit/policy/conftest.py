from __future__ import annotations

from pathlib import Path

import pytest

from appliance.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(config_dir=tmp_path / "etc")
    made.tenants_dir.mkdir(parents=True)
    made.policies_dir.mkdir()
    return made
