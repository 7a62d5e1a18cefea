"""Data in targets (F1) is pointed out; ordinary targets are not."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest

from appliance.limits.signals import HIGH_ENTROPY, entropy, signals

RANDOM = random.Random(7).randbytes(48)


@pytest.mark.parametrize(
    "text",
    [
        base64.urlsafe_b64encode(RANDOM).decode(),
        base64.b32encode(RANDOM).decode(),
        RANDOM.hex(),
    ],
)
def test_encoded_secrets_are_pointed_out_wherever_they_stand(text: str) -> None:
    assert signals("/search", f"q={text}") == (HIGH_ENTROPY,)
    assert signals(f"/a/{text}/b", None) == (HIGH_ENTROPY,)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", None),
        ("/wiki/Special:Search", "q=the+quick+brown+fox+jumps+over+the+lazy+dog+and+runs+away+from+it"),
        ("/simple/some-quite-long-package-name/some_quite_long_package_name-1.2.3-py3-none-any.whl", None),
        (f"/blobs/sha256/{hashlib.sha256(b'x').hexdigest()}", None),
        ("/x", "a=" + "ab" * 500),
        ("/x", "&".join(f"key{n}=value{n}" for n in range(100))),
        ("/commit/0123456789abcdef0123456789abcdef01234567", "w=1"),
    ],
)
def test_ordinary_targets_are_not(path: str, query: str | None) -> None:
    assert signals(path, query) == ()


def test_entropy_is_shannons() -> None:
    assert entropy("aaaa") == 0
    assert entropy("abab") == 1
    assert entropy("abcd") == 2
