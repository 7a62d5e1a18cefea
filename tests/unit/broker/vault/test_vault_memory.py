"""What is left of a secret in the memory of a process that has used it, looked at from outside."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.broker.database import open_database
from appliance.broker.vault.envelope import KEY, LocalKey
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import parse_material
from appliance.broker.vault.vault import Vault
from appliance.privilege import ERASING

USE = """
import secrets, sys
from appliance.broker.database import open_database
from appliance.broker.vault.envelope import LocalKey
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.vault import Vault
vault = Vault(open_database(sys.argv[1]))
vault.keyring.use(LocalKey(bytearray(b"k" * 32), secrets.token_bytes), Source.KEY_FILE)
for _ in range(int(sys.argv[2])):
    with vault.reveal("acme", "openai", "key") as material:
        header = b"Bearer " + material.value.get_secret_value().encode()
        if sys.argv[3] == "during":
            print("used", flush=True)
            sys.stdin.readline()
    del material, header
print("used", flush=True)
sys.stdin.readline()
"""


def occurrences(pid: int, canary: bytes) -> int:
    """How often `canary` stands in the memory of a process (proc(5))."""
    count = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found:
                first, last = (int(number, 16) for number in found.groups())
                memory.seek(first)
                count += memory.read(last - first).count(canary)
    return count


@pytest.fixture
def stored(tmp_path: Path) -> tuple[str, bytes]:
    """A database with a secret, and the beginning of the secret."""
    folder = tmp_path / "vault"
    folder.mkdir(mode=0o700)
    url = f"sqlite:///{folder / 'broker.db'}"
    canary = secrets.token_hex(16)
    vault = Vault(open_database(url))
    vault.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    for length in (1, 40):
        document = {"kind": "static", "value": "-".join([canary] * length)}
        vault.put("acme", "openai", "key", parse_material(json.dumps(document).encode()), datetime.now(UTC))
    vault.close()
    return url, canary.encode()


def left(stored: tuple[str, bytes], when: str, times: int) -> int:
    url, canary = stored
    process = subprocess.Popen(
        [sys.executable, "-P", "-s", "-c", USE, url, str(times), when],
        env={"PATH": os.environ["PATH"], **ERASING}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"used\n"
        return occurrences(process.pid, canary)
    finally:
        process.communicate(b"\n" * 9, timeout=60)


@pytest.mark.parametrize("times", [1, 30])
def test_000_38_nothing_is_left_of_a_secret_after_its_use(stored: tuple[str, bytes], times: int) -> None:
    assert left(stored, "after", times) == 0


def test_the_look_from_outside_finds_what_is_there(stored: tuple[str, bytes]) -> None:
    assert left(stored, "during", 1) > 0
