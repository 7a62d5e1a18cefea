"""appliance.broker.vault.kek: a passphrase or a file, and nothing half read."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret_raw

from appliance.broker.vault import kek
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.kek import (
    Argon2,
    check_new,
    derive,
    make_key_file,
    new_parameters,
    read_key_file,
    read_passphrase_file,
)

QUICK = Argon2(b"s" * 16, passes=1, memory=19 * 1024, lanes=1)


def refused(act: Callable[[], object], code: str = "vault-unreadable") -> str:
    with pytest.raises(VaultError) as caught:
        act()
    assert caught.value.code == code
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_a_new_vault_takes_the_parameters_of_rfc_9106() -> None:
    parameters = new_parameters(secrets.token_bytes)
    assert (parameters.passes, parameters.memory, parameters.lanes) == (3, 64 * 1024, 4)
    assert len(parameters.salt) == 16
    assert parameters.salt != new_parameters(secrets.token_bytes).salt


def test_the_key_is_argon2id_of_the_passphrase_with_the_stored_parameters() -> None:
    expected = hash_secret_raw(b"correct horse", QUICK.salt, 1, 19 * 1024, 1, 32, Type.ID, 0x13)
    assert derive("correct horse", QUICK) == expected
    assert isinstance(derive("correct horse", QUICK), bytearray)


@pytest.mark.parametrize(
    "other",
    [
        Argon2(b"t" * 16, 1, 19 * 1024, 1),
        Argon2(b"s" * 16, 2, 19 * 1024, 1),
        Argon2(b"s" * 16, 1, 20 * 1024, 1),
    ],
)
def test_other_parameters_give_another_key(other: Argon2) -> None:
    assert derive("correct horse", QUICK) != derive("correct horse", other)


def test_one_text_has_one_key_however_it_was_typed() -> None:
    assert derive("Pa\u0301ssword-\u00e4", QUICK) == derive("P\u00e1ssword-a\u0308", QUICK)


@pytest.mark.parametrize(
    "values",
    [{"salt": b"short"}, {"passes": 0}, {"passes": 65}, {"memory": 1024}, {"memory": 2**30}, {"lanes": 0},
     {"lanes": 17}],
)  # fmt: skip
def test_parameters_out_of_bounds_are_not_tried(values: dict[str, object]) -> None:
    said = refused(lambda: Argon2(**({"salt": b"s" * 16} | values)))  # type: ignore[arg-type]
    assert "out of bounds; restore the database" in said


def test_a_passphrase_that_is_none() -> None:
    assert "12 characters" in refused(lambda: check_new("elevenchars"), "wrong-passphrase")
    check_new("twelve chars")
    refused(lambda: derive("x" * 1025, QUICK), "wrong-passphrase")
    assert "\udcff" not in refused(lambda: derive("canary\udcff", QUICK), "wrong-passphrase")


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_arguments: object, **_named: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(kek, "hash_secret_raw", none)
    assert "needs 19 MiB of memory" in refused(lambda: derive("correct horse", QUICK))


def test_a_key_file_is_made_once_with_its_mode_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "kek"
    (tmp_path / ".kek.new").write_text("of a crash")
    key = make_key_file(file, secrets.token_bytes)
    assert read_key_file(file) == key
    assert len(key) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == key.hex() + "\n"
    refused(lambda: make_key_file(file, secrets.token_bytes))
    assert read_key_file(file) == key


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a key (64 hexadecimal digits)"),
        (b"0" * 63, "not a key"),
        (b"0" * 64 + b"\n\n", "not a key"),
        (b"G" * 64, "not a key"),
        (b"\xff" * 64, "not a key"),
        (b"0" * 66, "not a key"),
    ],
)
def test_what_is_no_key_is_not_taken_for_one(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "kek"
    file.write_bytes(content)
    file.chmod(0o600)
    assert words in refused(lambda: read_key_file(file))


@pytest.mark.parametrize("read", [read_key_file, read_passphrase_file])
def test_a_file_of_others_is_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    file = tmp_path / "file"
    assert "No such file" in refused(lambda: read(file))
    file.write_text("0" * 64)
    file.chmod(0o640)
    assert "mode 0640 lets others read it; run: chmod 600" in refused(lambda: read(file))
    file.rename(tmp_path / "real")
    file.symlink_to("real")
    assert "a symbolic link" in refused(lambda: read(file))
    file.unlink()
    os.mkfifo(file, 0o600)
    assert "not a regular file" in refused(lambda: read(file))


@pytest.mark.parametrize(
    "text", ["some words at random", "some words at random\n", "some words at random\r\nmore"]
)
def test_a_passphrase_file_is_its_first_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(text.encode())
    file.chmod(0o600)
    assert read_passphrase_file(file) == "some words at random"


def test_what_systemd_gives_is_judged_as_such_and_all_else_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kek, "CREDENTIALS", tmp_path / "given")
    for place in (tmp_path / "given" / "egress-broker.service", tmp_path):
        place.mkdir(parents=True, exist_ok=True)
        (place / "words").write_text("some words at random")
        (place / "words").chmod(0o600)
    assert read_passphrase_file(tmp_path / "words") == "some words at random"
    given = tmp_path / "given" / "egress-broker.service" / "words"
    assert "start the broker by its unit" in refused(lambda: read_passphrase_file(given))
    given.chmod(0o400)
    assert read_passphrase_file(given) == "some words at random"
    given.unlink()
    said = refused(lambda: read_passphrase_file(given))
    assert "No such file or directory; write the units anew (egress units --out /etc" in said
    assert "put the passphrase there" not in said


@pytest.mark.parametrize(("octets", "words"), [(b"\nx", "first line is empty"), (b"\xff\xfe", "not UTF-8")])
def test_a_passphrase_file_without_one(tmp_path: Path, octets: bytes, words: str) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(octets)
    file.chmod(0o600)
    assert words in refused(lambda: read_passphrase_file(file))
