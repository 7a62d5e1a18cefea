"""As it runs in a container: text for `python3 -c`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from appliance.verify.live import resident

TEXT = Path(resident.__file__).read_text()


def test_it_runs_what_it_is_told_and_ends_with_its_input() -> None:
    told = [[5, "sh", "-c", "echo out; echo err >&2; exit 3"], [5, "no-such-program"], [0.2, "sleep", "5"]]
    done = subprocess.run(
        [sys.executable, "-u", "-c", TEXT], input="".join(json.dumps(line) + "\n" for line in told),
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    ready, ran, missing, late = map(json.loads, done.stdout.splitlines())
    assert ready == ["done", 0, "ready"]
    assert ran == ["done", 3, "out\nerr\n"]
    assert missing[:2] == ["done", 127]
    assert late[:2] == ["done", None]
