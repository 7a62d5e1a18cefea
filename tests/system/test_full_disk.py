"""A full disk: one message with the mend, and nothing half done.

Each command runs in a mount namespace of its own in which one directory is a small tmpfs, filled to the brim.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

EGRESS = Path(sys.executable).with_name("egress")
FILL = 'dd if=/dev/zero of="$1/ballast" bs=4k 2>/dev/null'
LISTING = 'find "$1" -mindepth 1 -not -name ballast -printf "left: %P\\n"'


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    file = tmp_path / "egress.yaml"
    directories = {f"{name}_dir": str(tmp_path / name) for name in ("config", "state", "run", "log")}
    for directory in directories.values():
        Path(directory).mkdir()
    docker = {"socket": str(tmp_path / "docker.sock")}
    file.write_text(json.dumps({"instance": "egressfull", **directories, "docker": docker}))
    return file


def on_full_disk(full: Path, *command: str, before: str = "true") -> subprocess.CompletedProcess[str]:
    """`command` while `full` has no byte left; standard output ends with what the command left in it."""
    script = (
        f'mount -t tmpfs -o size=64k tmpfs "$1" && {before} && {{ {FILL}; true; }} && '
        f'{{ shift_dir="$1"; shift; "$@"; code=$?; set -- "$shift_dir"; {LISTING}; exit $code; }}'
    )
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(full), *command],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_tenant_add_leaves_nothing(settings_file: Path) -> None:
    config = settings_file.with_name("config")
    command = (str(EGRESS), "--settings", str(settings_file), "tenant", "add", "acme", "--no-network")
    done = on_full_disk(config, *command)
    assert done.returncode == 1, done
    assert done.stderr == (
        f"egress: {config}/tenants/acme.yaml: No space left on device; make room there, then run it again\n"
    )
    assert "left:" not in done.stdout
    assert list(settings_file.with_name("state").iterdir()) == []


def test_with_room_the_same_command_succeeds(settings_file: Path) -> None:
    """The control: it is the disk that the test above sees."""
    config = settings_file.with_name("config")
    command = (str(EGRESS), "--settings", str(settings_file), "tenant", "add", "acme", "--no-network")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done
    assert (config / "tenants" / "acme.yaml").exists()


@pytest.mark.parametrize("name", ["state", "log"])
def test_up_does_not_begin(settings_file: Path, name: str) -> None:
    full = settings_file.with_name(name)
    done = on_full_disk(full, str(EGRESS), "--settings", str(settings_file), "up")
    assert done.returncode == 1, done
    line = f"egress: disk for {name}: 0 MiB free at {full}; free at least 64 MiB there, or set {name}_dir"
    assert line in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert "left:" not in done.stdout
    assert list(settings_file.with_name("run").iterdir()) == []


def test_what_cannot_be_printed_is_a_failure(settings_file: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(EGRESS), "--settings", str(settings_file), "--json", "status"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
