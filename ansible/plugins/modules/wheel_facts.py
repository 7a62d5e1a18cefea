#!/usr/bin/python
"""Which release a wheel of the appliance is, read from the wheel, and whether the checksums know it."""

from __future__ import annotations

import hashlib
import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path

DOCUMENTATION = """
module: wheel_facts
short_description: Say which release a wheel of the appliance is
description:
  - Reads version and build id from a wheel and names the release by them, C(VERSION-BUILD). A wheel whose
    build id names no commit alone has the octets of its own in the release's name.
  - Compares it, and the lock by which it is to be installed, with the file C(SHA256SUMS) that they were
    published with, where one is named.
options:
  path:
    description: The wheel.
    type: path
    required: true
  checksums:
    description: A file of sha256sum(1) that must know wheel and lock by name and octets; empty for none.
    type: path
    default: ""
  lock:
    description: The file C(appliance.lock) that was published with the wheel; empty for none.
    type: path
    default: ""
attributes:
  check_mode:
    support: full
    description: Nothing is changed in any mode.
"""

EXAMPLES = """
- name: Read which release it is
  egress.appliance.wheel_facts:
    path: dist/egress_appliance-1.0.0-py3-none-any.whl
    checksums: dist/SHA256SUMS
    lock: dist/appliance.lock
  delegate_to: localhost
"""

RETURN = """
release:
  description: The release's name.
  returned: success
  type: str
  sample: 1.0.0-0123456789ab
sha256:
  description: The wheel's checksum.
  returned: success
  type: str
"""

DISTRIBUTION = "egress-appliance"
BUILD = "appliance/cli/build_id"
COMMIT = re.compile(r"[0-9a-f]{40}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+]*")
OF_BUILD = 12
"""Digits of a build in the name of its release."""


class NotTheWheelError(Exception):
    """The file is no wheel that may be installed; the text says what to do."""


def release(path: Path) -> tuple[str, str]:
    """Name of the wheel's release and its SHA-256. Raises `NotTheWheelError`."""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with zipfile.ZipFile(path) as wheel:
            (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            fields = HeaderParser().parsestr(wheel.read(metadata).decode())
            build = wheel.read(BUILD).decode("ascii").strip()
    except OSError as error:
        raise NotTheWheelError(f"{path}: {error.strerror}; name a wheel that `make dist` made") from error
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise NotTheWheelError(
            f"{path} is no wheel of {DISTRIBUTION}; name one that `make dist` made"
        ) from error
    version = fields["Version"] or ""
    if fields["Name"] != DISTRIBUTION or not VERSION.fullmatch(version):
        raise NotTheWheelError(f"{path} is of {fields['Name']!r}; name a wheel of {DISTRIBUTION}")
    known = COMMIT.fullmatch(build)
    return f"{version}-{build[:OF_BUILD] if known else 'changed-' + sha256[:OF_BUILD]}", sha256


def of_lock(path: Path) -> str:
    """SHA-256 of a lock. Raises `NotTheWheelError` where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise NotTheWheelError(
            f"{path}: {error.strerror}; name the appliance.lock that came with the wheel"
        ) from error


def compare(path: Path, sha256: str, checksums: Path) -> None:
    """Raise `NotTheWheelError` unless `checksums` has `sha256` for a file of that name."""
    try:
        lines = checksums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotTheWheelError(
            f"{checksums} cannot be read ({error}); name the SHA256SUMS of the wheel"
        ) from error
    known = {
        name.strip().lstrip("*"): digest.lower() for digest, _, name in (x.partition(" ") for x in lines)
    }
    if path.name not in known:
        raise NotTheWheelError(
            f"{checksums} does not know {path.name}; name the SHA256SUMS that came with it"
        )
    if known[path.name] != sha256:
        raise NotTheWheelError(
            f"{path} has the SHA-256 {sha256}, and {checksums} says {known[path.name]}; "
            "it is not what was published: get it anew"
        )


def published(path: Path, checksums: Path | None, lock: Path | None) -> tuple[str, str]:
    """As `release`. Raises `NotTheWheelError` also where `checksums` does not know the wheel, or `lock`."""
    name, sha256 = release(path)
    sums = {path: sha256} | ({lock: of_lock(lock)} if lock else {})
    if checksums:
        for file, digest in sums.items():
            compare(file, digest, checksums)
    return name, sha256


def main() -> None:
    """Ansible calls this."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415 - only a module run has it

    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "checksums": {"type": "path", "default": ""},
            "lock": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    given = {key: Path(value) if value else None for key, value in module.params.items()}
    try:
        name, sha256 = published(**given)
    except NotTheWheelError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, release=name, sha256=sha256)


if __name__ == "__main__":
    main()
