"""The client of the loads that wrk does not put: it is built, and says what it was not given."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.ground import DATA
from tests.bench.loads import LoadFailed, parse


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("client") / "load"
    libraries = ("-lssl", "-lcrypto", "-lpthread")
    command = ("gcc", "-Wall", "-Wextra", "-Werror", "-o", str(binary), str(DATA / "load.c"), *libraries)
    subprocess.run(command, check=True, timeout=120)
    return binary


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("churn", "tls", "bench.example.com"),
        ("churn", "tls", "bench.example.com", "no-address", "1", "1"),
        ("unknown", "tls", "bench.example.com", "127.0.0.1", "1", "1"),
        ("paced", "tls", "bench.example.com", "127.0.0.1", "1", "1"),
    ],
)
def test_words_that_make_no_load_are_refused(client: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run((str(client), *words), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr


def test_connections_that_nobody_takes_are_failures(client: Path) -> None:
    words = ("tunnel", "-", "bench.example.com", "127.255.255.254", "2", "1")  # nobody listens there
    done = subprocess.run((str(client), *words), capture_output=True, text=True, timeout=20, check=True)
    with pytest.raises(LoadFailed, match="connect"):
        parse(done.stdout)
