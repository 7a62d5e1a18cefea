"""Has a container's program run yet? From a /proc made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from netns.driver import sandbox
from netns.driver.sandbox import FirstProcess, first_process, is_namespace, runs_already


class Proc:
    """`exe`, `root`, `ns/net` are files or links as a test needs them."""

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
        exe: str,
        root: str,
        pids: str = "pid:[2]",
        net: Path | None = None,
        inside: str = "1",
        uid: int = 1000,
    ) -> None:
        process = self.top / str(pid)
        (process / "ns").mkdir(parents=True)
        (process / "ns/pid").symlink_to(pids)
        (process / "ns/net").symlink_to(net or self.net)
        (process / "comm").write_text(comm + "\n")
        (process / "exe").symlink_to(exe)
        (process / "root").symlink_to(root)
        for name in ("uid_map", "gid_map"):
            (process / name).write_text("0 0 4294967295\n")
        zeros = "".join(f"Cap{name}:\t0000000000000000\n" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
        ids = "".join(f"{name}:\t{f'{uid} ' * 4}\n" for name in ("Uid", "Gid"))
        numbers = f"NSpid:\t{pid} {inside}\nNoNewPrivs:\t1\nSeccomp:\t2\nGroups:\t\n"
        (process / "status").write_text(ids + zeros + numbers)


ELSEWHERE = "/proc"  # a directory on another device than the files of a test


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    return Proc(tmp_path, monkeypatch)


def test_runc_before_it_changes_its_root(proc: Proc) -> None:
    proc.add(10, "runc:[2:INIT]", exe="/", root="/")
    assert not runs_already(proc.net)


def test_runc_after_it_has_changed_its_root(proc: Proc) -> None:
    proc.add(10, "runc:[2:INIT]", exe="/", root=ELSEWHERE)
    assert not runs_already(proc.net)


def test_helpers_of_dockerd_are_no_programs_of_the_container(proc: Proc) -> None:
    proc.add(10, "runc:[2:INIT]", exe="/", root="/")
    proc.add(11, "iptables", exe="/", root="/", pids="pid:[1]")
    assert not runs_already(proc.net)


def test_a_program_runs(proc: Proc) -> None:
    proc.add(10, "sleep", exe=ELSEWHERE, root=ELSEWHERE)
    assert runs_already(proc.net)


def test_a_program_with_runcs_name_is_a_program(proc: Proc) -> None:
    """The name is the container's to choose; where its executable lies is not."""
    proc.add(10, "runc:[2:INIT]", exe=f"{ELSEWHERE}/self", root=ELSEWHERE)
    assert runs_already(proc.net)


def test_one_of_two(proc: Proc) -> None:
    proc.add(10, "runc:[2:INIT]", exe="/", root="/")
    proc.add(11, "sh", exe=ELSEWHERE, root=ELSEWHERE)
    assert runs_already(proc.net)


def test_nobody_is_there_any_more(proc: Proc) -> None:
    proc.add(10, "sleep", exe=ELSEWHERE, root=ELSEWHERE, net=proc.top)
    assert runs_already(proc.net)
    assert runs_already(proc.top / "gone")


def test_a_namespace_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_namespace(Path("/proc/self/ns/net"))
    assert not is_namespace(tmp_path / "file")
    assert not is_namespace(tmp_path / "none")


def test_the_first_process_is_the_one_with_number_one(proc: Proc) -> None:
    proc.add(10, "sh", exe=ELSEWHERE, root=ELSEWHERE, inside="7", uid=0)
    assert first_process(proc.net) is None
    proc.add(11, "sh", exe=ELSEWHERE, root=ELSEWHERE)
    assert first_process(proc.net) == FirstProcess(runs=True, problems=())


def test_root_is_seen(proc: Proc) -> None:
    proc.add(10, "sh", exe=ELSEWHERE, root=ELSEWHERE, uid=0)
    proc.add(11, "sh", exe=ELSEWHERE, root=ELSEWHERE, inside="2 1")
    found = first_process(proc.net)
    assert found is not None
    assert found.problems == ("Uid is 0 0 0 0 (root)", "Gid is 0 0 0 0 (root)")


def test_runc_does_not_run_yet(proc: Proc) -> None:
    proc.add(10, "runc:[2:INIT]", exe="/", root="/", uid=0)
    found = first_process(proc.net)
    assert found is not None
    assert not found.runs


def test_helpers_others_and_what_has_ended_are_left_out(proc: Proc) -> None:
    proc.add(10, "iptables", exe="/", root="/", pids="pid:[1]")
    proc.add(11, "sh", exe=ELSEWHERE, root=ELSEWHERE, net=proc.top)
    proc.add(12, "sh", exe="/nowhere", root=ELSEWHERE)
    proc.add(13, "sh", exe=ELSEWHERE, root=ELSEWHERE)
    (proc.top / "13/status").unlink()
    assert first_process(proc.net) is None
    assert first_process(proc.top / "gone") is None


def test_a_name_that_is_no_text_hides_nothing(proc: Proc) -> None:
    """comm(5) is cut at 15 octets, in the middle of a character of the entry point's name too."""
    proc.add(10, "x", exe=ELSEWHERE, root=ELSEWHERE, uid=0)
    (proc.top / "10/comm").write_bytes(b"fourteen-octets\xc3\n")
    assert runs_already(proc.net)
    found = first_process(proc.net)
    assert found is not None
    assert found.runs
    assert found.problems
