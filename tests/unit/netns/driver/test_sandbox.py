"""Has a container's program run yet? From a /proc made by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netns.driver import sandbox
from netns.driver.sandbox import FirstProcess, first_process, is_namespace, runs_already


class Proc:
    """`exe` and `ns/net` are links as a test needs them; `executed`: what stands in the flags of `stat`."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top / "proc"
        self.net = top / "net"
        self.net.touch()
        (self.top / "self/ns").mkdir(parents=True)
        (self.top / "self/ns/pid").symlink_to("pid:[1]")
        monkeypatch.setattr(sandbox, "PROC", self.top)

    def add(
        self,
        pid: int,
        comm: str,
        *,
        executed: bool = True,
        exe: str = "/",
        pids: str = "pid:[2]",
        net: Path | None = None,
        inside: str = "1",
        uid: int = 1000,
    ) -> None:
        process = self.top / str(pid)
        (process / "ns").mkdir(parents=True)
        (process / "ns/pid").symlink_to(pids)
        (process / "ns/net").symlink_to(net or self.net)
        flags = 0x400000 | (0 if executed else FORKED)
        stat = f"{pid} ({comm}) S 1 {pid} {pid} 0 -1 {flags} 0 0"
        (process / "stat").write_bytes(os.fsencode(stat))
        (process / "exe").symlink_to(exe)
        for name in ("uid_map", "gid_map"):
            (process / name).write_text("0 0 4294967295\n")
        zeros = "".join(f"Cap{name}:\t0000000000000000\n" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
        ids = "".join(f"{name}:\t{f'{uid} ' * 4}\n" for name in ("Uid", "Gid"))
        numbers = f"NSpid:\t{pid} {inside}\nNoNewPrivs:\t1\nSeccomp:\t2\nGroups:\t\n"
        (process / "status").write_text(ids + zeros + numbers)


FORKED = 0x40  # PF_FORKNOEXEC
RUNC = "runc:[2:INIT]"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    return Proc(tmp_path, monkeypatch)


def test_runc_has_not_executed_the_containers_program(proc: Proc) -> None:
    proc.add(10, RUNC, executed=False)
    assert not runs_already(proc.net)


def test_helpers_of_dockerd_are_no_programs_of_the_container(proc: Proc) -> None:
    proc.add(10, RUNC, executed=False)
    proc.add(11, "iptables", pids="pid:[1]")
    assert not runs_already(proc.net)


def test_a_program_runs(proc: Proc) -> None:
    proc.add(10, "sleep")
    assert runs_already(proc.net)


@pytest.mark.parametrize("exe", ["/", "/proc", "/sys"])
def test_a_program_with_runcs_name_is_a_program(proc: Proc, exe: str) -> None:
    """The name is the container's to choose, and so is the file system on which its executable lies."""
    proc.add(10, RUNC, exe=exe)
    assert runs_already(proc.net)
    found = first_process(proc.net)
    assert found is not None
    assert found.runs


def test_what_a_program_forks_is_a_program_too(proc: Proc) -> None:
    proc.add(11, RUNC, executed=False, inside="7")
    assert runs_already(proc.net)


@pytest.mark.parametrize("name", ["sleep", "a) S 1 1 1 0 -1 64 0 0", "(runc:[2:INIT]"])
def test_only_runcs_own_name_is_runcs(proc: Proc, name: str) -> None:
    """As of a process that was restored, which has executed nothing."""
    proc.add(10, name, executed=False)
    assert runs_already(proc.net)


def test_a_name_that_looks_like_flags_says_nothing(proc: Proc) -> None:
    proc.add(10, "runc:[) S 1 1 1 0 -1 64 0 0")
    assert runs_already(proc.net)


def test_of_what_cannot_be_told_nothing_is_runcs(proc: Proc) -> None:
    proc.add(10, RUNC, executed=False)
    for stat in ("", "10 (runc:[2:INIT])", f"10 ({RUNC}) S 1 1 1 0 -1 x"):
        (proc.top / "10/stat").write_text(stat)
        assert runs_already(proc.net)
    (proc.top / "10/stat").unlink()
    assert runs_already(proc.net)


# An executable in a memfd, as runc's own copy of itself is, and under runc's name.
FORKS = """
import os, time
from pathlib import Path
from netns.driver.sandbox import has_executed

def flags(pid):
    return has_executed(Path(f"/proc/{pid}/stat").read_text())

begin, go = os.pipe()
child = os.fork()
if child == 0:
    os.read(begin, 1)
    disguise = os.memfd_create("runc_cloned:/proc/self/exe")
    os.write(disguise, Path("/bin/sleep").read_bytes())
    os.execve(disguise, ["runc:[2:INIT]", "60"], {})
before = flags(os.getpid()), flags(child)
os.write(go, b".")
until = time.monotonic() + 20
while "memfd" not in os.readlink(f"/proc/{child}/exe") and time.monotonic() < until:
    time.sleep(0.01)
after = flags(child)
os.kill(child, 9)
os.waitpid(child, 0)
print(*before, after)
"""


def test_the_kernel_tells_a_clone_from_what_has_executed_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], check=True, cwd=Path(sandbox.__file__).parents[2],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "False", "True"]


def test_one_of_two(proc: Proc) -> None:
    proc.add(10, RUNC, executed=False)
    proc.add(11, "sh")
    assert runs_already(proc.net)


def test_nobody_is_there_any_more(proc: Proc) -> None:
    proc.add(10, "sleep", net=proc.top)
    assert runs_already(proc.net)
    assert runs_already(proc.top / "gone")


def test_a_namespace_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_namespace(Path("/proc/self/ns/net"))
    assert not is_namespace(tmp_path / "file")
    assert not is_namespace(tmp_path / "none")


def test_the_first_process_is_the_one_with_number_one(proc: Proc) -> None:
    proc.add(10, "sh", inside="7", uid=0)
    assert first_process(proc.net) is None
    proc.add(11, "sh")
    assert first_process(proc.net) == FirstProcess(runs=True, problems=())


def test_root_is_seen(proc: Proc) -> None:
    proc.add(10, "sh", uid=0)
    proc.add(11, "sh", inside="2 1")
    found = first_process(proc.net)
    assert found is not None
    assert found.problems == ("Uid is 0 0 0 0 (root)", "Gid is 0 0 0 0 (root)")


def test_runc_does_not_run_yet(proc: Proc) -> None:
    proc.add(10, RUNC, executed=False, uid=0)
    found = first_process(proc.net)
    assert found is not None
    assert not found.runs


def test_helpers_others_and_what_has_ended_are_left_out(proc: Proc) -> None:
    proc.add(10, "iptables", pids="pid:[1]")
    proc.add(11, "sh", net=proc.top)
    proc.add(12, "sh", exe="/nowhere")
    proc.add(13, "sh")
    (proc.top / "13/status").unlink()
    assert first_process(proc.net) is None
    assert first_process(proc.top / "gone") is None


def test_a_name_that_is_no_text_hides_nothing(proc: Proc) -> None:
    """comm(5) is cut at 15 octets, in the middle of a character of the entry point's name too."""
    proc.add(10, "fourteen-octets\udcc3", uid=0)
    assert runs_already(proc.net)
    found = first_process(proc.net)
    assert found is not None
    assert found.runs
    assert found.problems
