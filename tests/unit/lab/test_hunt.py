"""What the hunt for a secret finds: the secret in every usual form, wherever it stands."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.lab import hunt

SECRET = "Zr8-a canary/of+some length?q"


@pytest.mark.parametrize("before", ["", "x", "ab", "abc", "user:"])
@pytest.mark.parametrize("coded", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_wherever_it_begins(before: str, coded) -> None:
    text = coded((before + SECRET + "; more").encode())
    assert any(needle in text for name, needle in hunt.forms(SECRET).items() if "base64" in name)


@pytest.mark.parametrize(
    "text",
    [SECRET, SECRET.encode().hex(), SECRET.encode().hex().upper(), quote(SECRET, safe=""), SECRET[::-1]],
)
def test_other_forms(text: str) -> None:
    assert any(needle in text.encode() for needle in hunt.forms(SECRET).values())


def test_nothing_else_is_found() -> None:
    texts = (b"Zr8-", SECRET[1:].encode(), os.urandom(4096), base64.b64encode(os.urandom(4096)))
    assert not any(needle in text for needle in hunt.forms(SECRET).values() for text in texts)


def test_this_process_has_it_in_its_memory() -> None:
    here = os.urandom(20).hex()
    assert "raw" in hunt.in_memory(os.getpid(), hunt.forms(here))


def test_files_by_content_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_bytes(b"x" + SECRET.encode().hex().encode())
    (tmp_path / SECRET.encode().hex()).write_text("")
    (tmp_path / "c").write_text("nothing")
    assert set(hunt.in_files([tmp_path], hunt.forms(SECRET))) == {
        str(tmp_path / "below" / "a"), str(tmp_path / SECRET.encode().hex()),
    }  # fmt: skip
