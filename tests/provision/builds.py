"""Wheels to install: of two commits as `make dist` makes them, and one whose gateway does not start."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.provision.commands import Failed, run

BUILD_ID = "appliance/cli/build_id"
BROKEN_MODULE = "appliance/gateway/main.py"
BROKEN_ID = "bad" + "0" * 37


@dataclass(frozen=True, slots=True)
class Build:
    """A wheel, the commit that it was made of, the sums of its release and the lock that they know."""

    wheel: Path
    commit: str
    sums: Path
    lock: Path


def of_commit(checkout: Path, commit: str, folder: Path) -> Build:
    """What `make dist` makes of a commit, in a clone, so that no `dist/` of the checkout's is touched."""
    clone = folder / "clone"
    run("git", "clone", "--quiet", "--no-hardlinks", str(checkout), str(clone), within=120)
    environment = {**os.environ, "PYTHON": sys.executable, "COMMIT": commit, "SIGNING_KEY": ""}
    made = run(str(clone / "release"), within=300, environment=environment)
    whole = made.out.partition("built from commit ")[2].partition(";")[0]
    dist = folder / "dist"
    (clone / "dist").rename(dist)
    run("rm", "-rf", str(clone))
    (wheel,) = dist.glob("*.whl")
    return Build(wheel, whole, dist / "SHA256SUMS", dist / "appliance.lock")


def broken(build: Build, folder: Path) -> Build:
    """The same, of another build id, with a gateway that ends at once."""
    folder.mkdir()
    wheel = folder / build.wheel.name
    replaced = {
        BROKEN_MODULE: b'"""Ends at once."""\n\nraise SystemExit("made to fail")\n',
        BUILD_ID: f"{BROKEN_ID}\n".encode(),
    }
    with zipfile.ZipFile(build.wheel) as source, zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as out:
        names = source.namelist()
        if not set(replaced) <= set(names):
            raise Failed(f"{build.wheel}: has no {', '.join(sorted(set(replaced) - set(names)))}")
        for name in names:
            content = replaced.get(name, source.read(name))
            if name.endswith(".dist-info/RECORD"):
                content = "\n".join(
                    _recorded(line, replaced) for line in content.decode().splitlines()
                ).encode()
            out.writestr(source.getinfo(name), content)
    sums = folder / "SHA256SUMS"
    known = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (wheel, build.lock)
    )
    sums.write_text(known, encoding="ascii")
    return Build(wheel, BROKEN_ID, sums, build.lock)


def _recorded(line: str, replaced: dict[str, bytes]) -> str:
    """A line of RECORD (binary distribution format: name, digest, size)."""
    content = replaced.get(line.partition(",")[0])
    if content is None:
        return line
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{line.partition(',')[0]},sha256={digest},{len(content)}"
