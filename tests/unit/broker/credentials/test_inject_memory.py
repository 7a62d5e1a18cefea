"""After an injection nothing holds the secret, and nothing the token once the account was forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .memory import ENVIRONMENT

ROOT = Path(__file__).parents[4]


def test_a_secret_is_held_by_nothing_after_its_use() -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("memory.py")],
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=True,
        timeout=120,
    )
    kept, forgotten = json.loads(done.stdout)
    assert {"bearer", "query", "basic", "aws", "hmac", "refresh", "revoked", "own", "key"} <= set(kept)
    assert {name.partition("-")[0] for name in kept} >= {"access", "rotated"}
    # One secret is held on purpose, so that the hunt can fail.
    assert {name for name, count in kept.items() if count and not name.startswith("access")} == {"held"}
    assert sum(name.startswith("access") and bool(count) for name, count in kept.items()) >= 4
    assert {name: count for name, count in forgotten.items() if count} == {"held": 1}
