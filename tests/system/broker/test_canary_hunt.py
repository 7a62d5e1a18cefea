"""Where a secret is while a container works and afterwards: looked for as root, in every memory and every file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.listeners import listening_pid
from appliance.processes import SUPERVISOR, processes
from tests.lab import appliance, children, hunt, internet, providers
from tests.lab.bound import BOUND, BoundWorld
from tests.lab.containers import logs_of, start_hardened
from tests.lab.namespaces import run
from tests.lab.sdk_images import PYTHON

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
MARK = "a-mark-that-only-the-container-has-%d"
WORKS = f"""
import time, urllib.error, urllib.request
import openai
mark = "a-mark-that-only-the-container-has-" + str(40 + 2)
client = openai.OpenAI(api_key="agentsecrets://chat", max_retries=0)
said = []
for number in range(5):
    said.append(client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "x" * 5000}}]))
    for path in ("header", "plain", "gzip", "split", "error", "forms"):
        try:
            with urllib.request.urlopen("https://{internet.REFLECTOR.name}/" + path, timeout=20) as answer:
                said.append((str(answer.headers), answer.read()))
        except urllib.error.HTTPError as error:
            said.append((str(error.headers), error.read()))
print("worked", flush=True)
time.sleep(300)
"""
SECONDS = 60


@pytest.fixture(scope="module")
def worked(bound: BoundWorld) -> Iterator[str]:
    """A container that has made its calls, and is still there with all that it was told."""
    container = start_hardened(BOUND, PYTHON.tag, ("python3", "-c", WORKS))
    deadline = time.monotonic() + SECONDS
    while "worked" not in logs_of(container):
        assert time.monotonic() < deadline, logs_of(container)
        time.sleep(0.2)
    yield container
    run("docker", "rm", "-f", container, check=False)


def needles(bound: BoundWorld, *accounts: str) -> dict[str, bytes]:
    return {
        f"{account} {form}": needle
        for account in accounts
        for form, needle in hunt.forms(bound.secret(account)).items()
    }


def descendants(pid: int) -> set[int]:
    found = {pid}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= descendants(int(child))
    return found


def pid_of(bound: BoundWorld, name: str) -> int:
    pid = listening_pid(str(bound.world.settings.control_socket(name)))
    assert pid is not None, name
    return pid


def of_container(container: str) -> set[int]:
    return descendants(int(run("docker", "inspect", "-f", "{{.State.Pid}}", container)))


def of_appliance(bound: BoundWorld) -> dict[int, str]:
    """Every process of the appliance but the broker, by pid: whatever the supervisor has started as well."""
    names = [SUPERVISOR, *(process.name for process in processes(bound.world.settings))]
    found = {pid_of(bound, name): name for name in names}
    for name in names:
        for pid in descendants(pid_of(bound, name)):
            found.setdefault(pid, f"below {name}")
    return {pid: name for pid, name in found.items() if name != "broker"}


def test_the_hunt_finds_what_is_there(bound: BoundWorld, worked: str) -> None:
    mark = {"mark": (MARK % 42).encode()}
    assert any(hunt.in_memory(pid, mark) for pid in of_container(worked))
    record = json.loads((children.RECORDS / f"{providers.NAME}.json").read_text())
    found = hunt.in_memory(record["pid"], needles(bound, "chat", "mirror"))
    assert {"chat raw", "mirror raw", "mirror hex", "mirror reversed"} <= set(found)
    assert any("base64" in name for name in found)
    found_in_files = hunt.in_files([providers.CONTENT], needles(bound, "chat"))
    assert "chat raw" in found_in_files[str(providers.LOG)]


def test_000_01_004_01_no_process_but_the_broker_has_a_secret_in_its_memory(
    bound: BoundWorld, worked: str
) -> None:
    wanted = needles(bound, *bound.accounts)
    # A provider that reverses what it was sent has given it away: nothing could have known it again.
    in_container = {name: needle for name, needle in wanted.items() if name != "mirror reversed"}
    found = {}
    pids = of_appliance(bound)
    assert {name.partition("-")[0] for name in pids.values()} >= {"gateway", "resolver", "netd", SUPERVISOR}
    for pid, name in pids.items():
        # The gateway passed the reversed one on, as any other text.
        found[name] = hunt.in_memory(pid, in_container) | dict.fromkeys(hunt.in_words(pid, wanted))
    for pid in of_container(worked):
        found["container"] = hunt.in_memory(pid, in_container) | dict.fromkeys(hunt.in_words(pid, wanted))
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_000_01_no_file_of_the_appliance_has_a_secret(bound: BoundWorld, worked: str) -> None:
    wanted = {
        name: needle for name, needle in needles(bound, *bound.accounts).items() if name != "mirror reversed"
    }
    appliance.egress("status")
    directories = list(appliance.DIRECTORIES.values())
    assert any(file.suffix == ".db" for directory in directories for file in directory.rglob("*"))
    assert hunt.in_files(directories, wanted) == {}
    logs = [Path(run("docker", "inspect", "-f", "{{.LogPath}}", worked).strip()).parent]
    assert hunt.in_files(logs, wanted) == {}


def test_000_01_after_the_calls_the_brokers_memory_has_no_secret_either(
    bound: BoundWorld, worked: str, record_property: pytest.RecordProperty
) -> None:
    pid = pid_of(bound, "broker")
    deadline = time.monotonic() + 10
    while (found := hunt.in_memory(pid, needles(bound, *bound.accounts))) and time.monotonic() < deadline:
        time.sleep(1)
    record_property(
        "said",
        f"the broker ({os.fspath(Path(f'/proc/{pid}/exe').readlink())}) after calls: {found or 'nothing'}",
    )
    assert found == {}
