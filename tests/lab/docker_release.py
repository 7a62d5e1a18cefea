"""Docker engines of other Debian releases, each in a mount and network namespace of its own.

The tree comes from signed Debian packages (mmdebstrap), is kept read-only in a cache and is the lower layer of
an overlay for each run. A second engine in the first one's network namespace would delete its `docker0`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.lab import debian

RUNTIME = Path("/var/lib/egress-lab/engines")
PACKAGES = "docker.io,iptables,nftables,iproute2,ca-certificates,procps"
START_WITHIN = 60.0  # seconds

_ENTER = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mkdir -p "$ROOT/proc" "$ROOT/sys" "$ROOT/dev" "$ROOT/old" "$ROOT/var/lib/docker"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount --bind "$DATA" "$ROOT/var/lib/docker"
cd "$ROOT"
pivot_root . old
umount -l /old
exec dockerd --host unix:///run/docker.sock --pidfile /run/docker.pid
"""


def tree(suite: str) -> Path:
    """Root tree of `suite` with a Docker engine; built once, then kept."""
    return debian.system(f"engines/{suite}", suite, PACKAGES)


@dataclass
class Engine:
    """A running dockerd of `suite` in network namespace `namespace`, whose name server is `nameserver`.

    The caller makes and removes the network namespace. As a context manager: up inside, gone outside.
    """

    suite: str
    namespace: str
    nameserver: str
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def home(self) -> Path:
        return RUNTIME / self.suite

    @property
    def root(self) -> Path:
        """The engine's root directory as seen from outside its mount namespace."""
        return self.home / "root"

    @property
    def inside(self) -> Path:
        """The engine's own view of its files, with the mounts that only it sees."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root")

    @property
    def socket(self) -> Path:
        return self.root / "run/docker.sock"

    def __enter__(self) -> Self:
        lower = tree(self.suite)
        self.remove()
        for name in ("root", "upper", "work", "data"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={lower},upperdir={self.home}/upper,workdir={self.home}/work", str(self.root)],
            check=True,
        )  # fmt: skip
        try:
            (self.root / "etc/docker").mkdir(parents=True, exist_ok=True)
            (self.root / "etc/resolv.conf").unlink(missing_ok=True)
            (self.root / "etc/resolv.conf").write_text(f"nameserver {self.nameserver}\n")
            with (self.home / "dockerd.log").open("wb") as log:
                self.process = subprocess.Popen(
                    ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "-m", "sh", "-c", _ENTER],
                    env={**os.environ, "ROOT": str(self.root), "DATA": str(self.home / "data")},
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            if self.docker("version", check=False).returncode == 0:
                return
            time.sleep(0.2)
        tail = (self.home / "dockerd.log").read_text(errors="replace").splitlines()[-8:]
        raise RuntimeError(f"dockerd of {self.suite} did not start:\n" + "\n".join(tail))

    def docker(
        self, *arguments: str, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker client against this engine."""
        return subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *arguments],
            check=check, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def version(self) -> str:
        return self.docker("version", "--format", "{{.Server.Version}}").stdout.strip()

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.remove()

    def remove(self) -> None:
        """Unmount and delete what a run of this engine left."""
        while os.path.ismount(self.root):
            if subprocess.run(["umount", "-l", str(self.root)], check=False).returncode != 0:
                break
        shutil.rmtree(self.home, ignore_errors=True)
