"""The nft that is installed refuses no name that settings would take."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from appliance.reserved_names import RESERVED

pytestmark = pytest.mark.system


def refused(names: set[str]) -> str:
    """What nft says of our uses of tables of these names; `-c` changes nothing."""
    script = "".join(
        f"table inet {n}\ndelete table inet {n}\ntable inet {n} {{\n}}\nlist table inet {n}\n"
        for n in sorted(names)
    )
    command = ["unshare", "--net", "nft", "-c", "-f", "-"]
    return subprocess.run(command, input=script, text=True, capture_output=True, check=False).stderr


def library() -> Path:
    found = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    return Path(next(line.split()[-1] for line in found.splitlines() if "libnftables.so.1" in line))


def test_every_word_in_nft_itself() -> None:
    words = {found.decode() for found in re.findall(rb"[a-z][a-z0-9-]{0,14}", library().read_bytes())}
    assert {"udp", "masquerade"} <= words
    assert refused(words - RESERVED) == ""


def test_the_usual_name_is_taken_and_a_word_is_not() -> None:
    assert refused({"egress"}) == ""
    assert "udp" in refused({"udp"})
