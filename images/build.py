#!/usr/bin/env python3
"""Build the runner images from signed Debian packages: mmdebstrap into `docker import`, no image registry.

Run as root: `python images/build.py [runner-python] [runner-node] [--force]`. An image whose inputs have
not changed (label `egress.image.inputs`) is kept. Exit 0: both present; 1: a build failed; 2: something is
missing on the host, with the command that mends it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import docker
import docker.errors
from debian_sources import NoDebianSource, host_sources
from recipes import ENTRYPOINT, EXCLUDED_PATHS, RECIPES, RUNNER_UID, Recipe

DIGEST_SCHEME = b"1"
BUILD_SECONDS = 600
MEMORY_BUILD_FREE = 3 << 30  # bytes free in /dev/shm for two trees at a time to be built in memory
SHARED_MEMORY = Path("/dev/shm")
HERE = Path(__file__).resolve().parent


class BuildFailed(RuntimeError):
    """mmdebstrap or the import failed; `str()` carries the tail of its output."""


class HostUnfit(RuntimeError):
    """The host lacks something; `str()` says what and the command that mends it."""


def suite() -> str:
    """The host's Debian release, which is also the images'."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian":
        raise HostUnfit(
            "images are built from this host's Debian packages, and it is not Debian; use images/Dockerfile.*"
        )
    return release["VERSION_CODENAME"]


def hook() -> str:
    """What is done to the unpacked tree ($1): the job's account, the entry point, no set-id bit anywhere."""
    return " && ".join(
        (
            f"echo 'runner:x:{RUNNER_UID}:{RUNNER_UID}::/home/runner:/bin/sh' >>\"$1/etc/passwd\"",
            f"echo 'runner:x:{RUNNER_UID}:' >>\"$1/etc/group\"",
            f'install -d -o {RUNNER_UID} -g {RUNNER_UID} "$1/home/runner" "$1/workspace"',
            f"install -m 0755 '{HERE}/entrypoint' \"$1{ENTRYPOINT}\"",
            'rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/lists/*',
            'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
            # Not needed under no-new-privileges, and one thing less to trust when that flag is forgotten.
            'find "$1/usr" "$1/etc" "$1/var" "$1/home" "$1/opt" -xdev -perm /6000 -exec chmod ug-s {} +',
        )
    )


def command(recipe: Recipe, release: str, sources: Path) -> list[str]:
    """The mmdebstrap call that writes the image's file system as a tar archive to standard output."""
    excludes = [f"--dpkgopt=path-exclude={path}" for path in EXCLUDED_PATHS]
    return [
        "mmdebstrap",
        '--aptopt=Acquire::Retries "3"',
        "--variant=minbase",
        "--format=tar",
        *excludes,
        "--dpkgopt=force-unsafe-io",  # a tree that is not finished is thrown away: a fifth of the time
        '--aptopt=Apt::Install-Recommends "false"',
        f"--include={','.join(recipe.packages)}",
        f"--customize-hook={hook()}",
        release,
        "-",
        str(sources),
    ]


def inputs(recipe: Recipe, release: str) -> str:
    """Digest over all that decides the image, so that an unchanged one is not built again."""
    normalised_hook = hook().replace(str(HERE), "")
    return recipe.digest(release, (HERE / "entrypoint").read_bytes(), normalised_hook.encode(), DIGEST_SCHEME)


def present(api: docker.APIClient, recipe: Recipe, digest: str) -> bool:
    """Whether the engine has the image made from exactly these inputs."""
    image = _inspect(api, recipe.tag)
    return image is not None and digest in (image["Config"].get("Labels") or {}).values()


def build(api: docker.APIClient, recipe: Recipe, digest: str, argv: list[str], scratch: Path) -> None:
    """Build and import one image. Raises `BuildFailed`."""
    # A minimal environment: the tree must not depend on who builds it.
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
    environment |= {
        k: v for k, v in os.environ.items() if k.lower() in {"http_proxy", "https_proxy", "no_proxy"}
    }
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        deadline = threading.Timer(BUILD_SECONDS, process.kill)
        deadline.start()
        try:
            # Imported under a name of its own first: a half tree must never carry the real tag.
            answer = api.import_image_from_stream(
                process.stdout,
                repository=f"{recipe.tag.partition(':')[0]}-unfinished",
                changes=recipe.changes(digest),
            )
            status = process.wait()
        finally:
            deadline.cancel()
            process.kill()
        unfinished = f"{recipe.tag.partition(':')[0]}-unfinished:latest"
        if status != 0 or '"error"' in answer:
            log.seek(0)
            _remove(api, unfinished)
            raise BuildFailed(
                f"{recipe.tag}: mmdebstrap ended with status {status}:\n{log.read()[-2000:]}\n{answer[-500:]}"
            )
        repository, _, tag = recipe.tag.partition(":")
        replaced = _inspect(api, recipe.tag)
        api.tag(unfinished, repository, tag, force=True)
        _remove(api, unfinished)
        if replaced is not None:
            _remove(api, replaced["Id"])


def _inspect(api: docker.APIClient, image: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = api.inspect_image(image)  # type: ignore[no-untyped-call]  # the stubs lack it
    except docker.errors.ImageNotFound:
        return None
    return found


def _remove(api: docker.APIClient, image: str) -> None:
    """Remove an image unless something still stands on it: a container, or an image made from it."""
    try:
        api.remove_image(image, noprune=True)
    except docker.errors.ImageNotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:
            raise


def _scratch_root() -> Path | None:
    """Memory when there is plenty of it (half the time), else the usual temporary directory."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None
    return SHARED_MEMORY if free >= MEMORY_BUILD_FREE else None


def build_missing(names: list[str], socket: str, *, force: bool, say: Callable[[str], None]) -> None:
    """Build what is absent or outdated, both at a time. Raises `HostUnfit` and `BuildFailed`."""
    release = suite()
    api = docker.APIClient(base_url=socket)
    wanted = {name: inputs(RECIPES[name], release) for name in names}
    due = {n: d for n, d in wanted.items() if force or not present(api, RECIPES[n], d)}
    for name in names:
        if name not in due:
            say(f"{RECIPES[name].tag}: up to date")
    if not due:
        return
    if shutil.which("mmdebstrap") is None:
        raise HostUnfit("mmdebstrap is not installed; mend: apt-get install mmdebstrap")
    if os.geteuid() != 0:
        raise HostUnfit("building an image needs root (file owners, chroot); mend: run it with sudo")
    with tempfile.TemporaryDirectory(prefix="egress-image-", dir=_scratch_root()) as scratch:
        Path(scratch).chmod(0o755)  # apt's own unprivileged account reads it
        sources = Path(scratch) / "debian.sources"
        sources.write_text("\n".join(source.deb822() for source in host_sources(release)))

        def one(name: str) -> None:
            started = time.monotonic()
            say(f"{RECIPES[name].tag}: building from Debian {release} packages")
            engine = docker.APIClient(base_url=socket, timeout=BUILD_SECONDS)  # one connection a thread
            argv = command(RECIPES[name], release, sources)
            build(engine, RECIPES[name], due[name], argv, Path(scratch))
            say(f"{RECIPES[name].tag}: built in {time.monotonic() - started:.0f} s")

        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(one, name) for name in due]:
                done.result()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the runner images from signed Debian packages.")
    parser.add_argument("images", nargs="*", choices=[[], *RECIPES], help="which (default: all)")
    parser.add_argument(
        "--force", action="store_true", help="build even when nothing changed (takes new package versions)"
    )
    parser.add_argument("--docker-socket", default="/var/run/docker.sock", help="the engine's socket")
    options = parser.parse_args()
    socket = f"unix://{options.docker_socket}"
    try:
        build_missing(
            options.images or list(RECIPES),
            socket,
            force=options.force,
            say=lambda line: print(f"{line}\n", end="", flush=True),
        )
    except (HostUnfit, NoDebianSource) as error:
        print(f"images: {error}", file=sys.stderr)
        return 2
    except docker.errors.DockerException as error:
        print(f"images: the Docker engine at {socket} did not answer: {error}", file=sys.stderr)
        return 2
    except BuildFailed as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
