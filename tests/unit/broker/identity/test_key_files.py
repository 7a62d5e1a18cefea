"""appliance.broker.identity.key_files: what stands in the file now counts, and nothing while it is at fault."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from appliance.broker.identity.jwks import KeysUnavailable
from appliance.broker.identity.jwt_keys import VerificationKey
from appliance.broker.identity.key_files import KeyFile, key_set_file, public_key_file, secret_file

from .jwts import EC, ED, published

SET = json.dumps({"keys": [published(EC), published(ED)]}).encode()
PEM = EC.as_pem(private=False)
SECRET = b"k" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def found(keys: KeyFile, identity: str | None = "ec") -> VerificationKey | None:
    results: list = []
    Deferred.fromCoroutine(keys.key(identity)).addBoth(results.append)
    if results[0] is None or isinstance(results[0], VerificationKey):
        return results[0]
    results[0].trap(KeysUnavailable)
    raise KeysUnavailable


def test_002_08_a_key_set_is_asked_by_key_id_and_for_none_gives_none(file: Path) -> None:
    file.write_bytes(SET)
    keys = key_set_file(file)
    assert found(keys).algorithms == {"ES256"}
    assert found(keys, "ed").algorithms == {"Ed25519"}
    assert found(keys, "other") is None
    assert found(keys, None) is None


def test_002_08_one_public_key_or_secret_serves_whatever_it_is_called(file: Path) -> None:
    file.write_bytes(PEM)
    assert found(public_key_file(file), "any").algorithms == {"ES256"}
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    key = found(secret_file(file), None)
    assert key is not None
    assert "HS256" in key.algorithms
    assert key.key.raw_value == SECRET


def test_002_08_a_key_that_is_taken_out_of_the_file_counts_no_more(file: Path) -> None:
    file.write_bytes(SET)
    keys = key_set_file(file)
    assert found(keys) is not None
    file.write_bytes(json.dumps({"keys": [published(ED)]}).encode())
    assert found(keys) is None
    assert found(keys, "ed") is not None


@pytest.mark.parametrize(
    ("kind", "content", "mode"),
    [
        (key_set_file, None, 0o644), (key_set_file, b"", 0o644), (key_set_file, b"[]", 0o644),
        (key_set_file, b" " * 70000 + SET, 0o644), (public_key_file, SET, 0o644),
        (public_key_file, EC.as_pem(private=True), 0o644), (secret_file, b"short", 0o600),
        (secret_file, SECRET, 0o644), (key_set_file, json.dumps({"keys": [EC.as_dict(private=True)]}).encode(), 0o644),
    ],
    ids=range(9),
)  # fmt: skip
def test_002_08_while_it_cannot_be_used_nobody_is_let_in_and_the_fault_is_said_once(
    file: Path, kind: Callable[[Path], KeyFile], content: bytes | None, mode: int
) -> None:
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    keys = kind(file)
    with capturedLogs() as logged:
        keys.refresh()
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                found(keys)
    assert len(logged) == 1
    assert SECRET.decode() not in repr(logged)


def test_002_08_good_keys_end_when_the_file_does_and_come_back_with_it(file: Path) -> None:
    file.write_bytes(SET)
    keys = key_set_file(file)
    assert found(keys) is not None
    file.unlink()
    with pytest.raises(KeysUnavailable):
        found(keys)
    file.write_bytes(SET)
    assert found(keys) is not None


def test_a_pipe_that_nobody_writes_to_stops_nobody(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(KeysUnavailable):
        found(key_set_file(file))
