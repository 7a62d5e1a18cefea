"""appliance.broker.ca: made once, whole or not at all; refused when anyone else could have touched it."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from appliance.broker.ca import CaError, RootAuthority, open_authority
from appliance.tls.authority import InvalidSigningRequest, issue_root, new_key, signing_request

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ca"


@pytest.fixture
def made(directory: Path) -> RootAuthority:
    return open_authority(directory, "lab", NOW)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refused(directory: Path, now: datetime = NOW) -> str:
    with pytest.raises(CaError) as caught:
        open_authority(directory, "lab", now)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_start_makes_key_and_certificate_with_their_modes(
    directory: Path, made: RootAuthority
) -> None:
    assert made.certificate.public_key() == made.key.public_key()
    assert names(directory) == ["root.crt", "root.key"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"root.key": 0o600, "root.crt": 0o644}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_the_modes_do_not_depend_on_the_umask(directory: Path, mask: int) -> None:
    directory.mkdir(parents=True)
    before = os.umask(mask)
    try:
        open_authority(directory, "lab", NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((directory / "root.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "root.crt").stat().st_mode) == 0o644


def test_every_later_start_finds_the_same(directory: Path, made: RootAuthority) -> None:
    again = open_authority(directory, "lab", NOW + timedelta(days=1000))
    assert again.certificate == made.certificate
    assert again.key.private_numbers() == made.key.private_numbers()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
def test_a_key_with_loose_modes_is_refused_with_the_mend(
    directory: Path, made: RootAuthority, mode: int
) -> None:
    del made
    (directory / "root.key").chmod(mode)
    message = refused(directory)
    assert message.endswith(f"run: chmod 600 {directory / 'root.key'}")
    (directory / "root.key").chmod(0o600)
    open_authority(directory, "lab", NOW)


def test_a_key_of_another_owner_is_refused_with_the_mend(
    directory: Path, made: RootAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    del made
    directory.chmod(0o755)
    other = os.geteuid() + 1
    monkeypatch.setattr("appliance.broker.ca._check_directory", lambda _directory: None)
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert f"run: chown {other} {directory / 'root.key'}" in refused(directory)


def test_a_directory_of_another_owner_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(directory, 4242, -1)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
    assert "run: chown" in refused(directory)


def test_a_directory_that_others_may_write_to_is_refused(directory: Path, made: RootAuthority) -> None:
    del made
    directory.chmod(0o777)
    assert refused(directory).endswith(f"run: chmod 755 {directory}")


def test_a_certificate_that_others_may_write_to_is_refused(directory: Path, made: RootAuthority) -> None:
    del made
    (directory / "root.crt").chmod(0o666)
    assert "chmod 644" in refused(directory)


@pytest.mark.parametrize("name", ["root.key", "root.crt"])
def test_a_link_in_place_of_a_file_is_refused(directory: Path, made: RootAuthority, name: str) -> None:
    del made
    (directory / name).rename(directory / "elsewhere")
    (directory / name).symlink_to(directory / "elsewhere")
    assert "symbolic link" in refused(directory)


def test_a_dangling_link_is_not_written_through(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "root.key").symlink_to(directory / "target")
    assert "symbolic link" in refused(directory)
    assert not (directory / "target").exists()


def test_a_crash_after_the_key_leaves_a_key_that_is_used(directory: Path, made: RootAuthority) -> None:
    (directory / "root.crt").unlink()
    again = open_authority(directory, "lab", NOW)
    assert again.certificate.public_key() == made.key.public_key()
    assert names(directory) == ["root.crt", "root.key"]


def test_drafts_of_a_crash_are_cleared_away(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / ".root.key.new").write_bytes(b"half")
    (directory / ".root.crt.new").write_bytes(b"half")
    open_authority(directory, "lab", NOW)
    assert names(directory) == ["root.crt", "root.key"]


def test_a_missing_key_is_not_silently_replaced(directory: Path, made: RootAuthority) -> None:
    del made
    (directory / "root.key").unlink()
    assert "restore the key, or remove" in refused(directory)
    assert names(directory) == ["root.crt"]


def test_a_pair_that_does_not_belong_together_is_refused(
    directory: Path, made: RootAuthority, tmp_path: Path
) -> None:
    del made
    open_authority(tmp_path / "other", "lab", NOW)
    (tmp_path / "other" / "root.crt").replace(directory / "root.crt")
    assert "does not belong to" in refused(directory)


@pytest.mark.parametrize("name", ["root.key", "root.crt"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100])
def test_unreadable_content_is_refused(
    directory: Path, made: RootAuthority, name: str, content: bytes
) -> None:
    del made
    (directory / name).write_bytes(content)
    assert str(directory / name) in refused(directory)


@pytest.mark.parametrize("kind", ["rsa", "p384", "encrypted"])
def test_only_a_plain_p256_key_is_used(directory: Path, made: RootAuthority, kind: str) -> None:
    key = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "encrypted": lambda: made.key,
    }[kind]()
    protection = BestAvailableEncryption(b"secret") if kind == "encrypted" else NoEncryption()
    (directory / "root.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)  # type: ignore[attr-defined]  # a private key
    )
    assert "P-256" in refused(directory) or "unencrypted" in refused(directory)


def test_a_root_near_its_end_is_refused_and_warned_of_before(directory: Path, made: RootAuthority) -> None:
    end = made.certificate.not_valid_after_utc
    assert "too soon to sign" in refused(directory, end - timedelta(hours=23))
    assert open_authority(directory, "lab", end - timedelta(days=29)).expires_soon(end - timedelta(days=29))
    assert not made.expires_soon(NOW)


def test_a_clock_before_the_root_is_refused(directory: Path, made: RootAuthority) -> None:
    del made
    assert "set the clock" in refused(directory, NOW - timedelta(days=1))


@pytest.mark.parametrize("step", ["open", "fsync", "link"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_leaves_nothing_half_done(
    directory: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int
) -> None:
    directory.mkdir(parents=True)
    really = getattr(os, step)
    calls = [0]

    def full(*arguments: object, **named: object) -> object:
        relevant = step != "open" or bool(int(str(arguments[1])) & os.O_CREAT)
        calls[0] += relevant
        if relevant and calls[0] == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))
        return really(*arguments, **named)

    monkeypatch.setattr(os, step, full)
    assert "no space left for the CA; free some (df " in refused(directory)
    monkeypatch.undo()
    # Nothing, or a whole key whose certificate nobody has seen.
    assert names(directory) in ([], ["root.key"])
    open_authority(directory, "lab", NOW)
    assert names(directory) == ["root.crt", "root.key"]


def test_two_first_starts_at_once_never_replace_a_key(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(parents=True)
    really_link = os.link

    def other_was_faster(source: Path, target: Path) -> None:
        target.write_bytes(b"the other's")
        really_link(source, target)

    monkeypatch.setattr(os, "link", other_was_faster)
    assert "File exists" in refused(directory)
    assert (directory / "root.key").read_bytes() == b"the other's"


def test_signing_reads_a_pem_request_and_refuses_all_else(made: RootAuthority) -> None:
    request = signing_request(new_key()).public_bytes(Encoding.PEM).decode()
    certificate = made.sign(request, NOW)
    certificate.verify_directly_issued_by(made.certificate)
    for bad in ("", "nonsense", "ü", request[: len(request) // 2]):
        with pytest.raises(ValueError):
            made.sign(bad, NOW)
    with pytest.raises(InvalidSigningRequest):
        made.sign(signing_request(made.key).public_bytes(Encoding.PEM).decode(), NOW)


def test_the_root_is_self_signed_and_named_for_the_instance(made: RootAuthority) -> None:
    made.certificate.verify_directly_issued_by(made.certificate)
    assert made.certificate.subject == issue_root(new_key(), "lab", NOW).subject
