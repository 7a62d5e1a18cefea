"""A container's first process, judged by the kernel's words (issue 2: root in disguise, as a user or a group)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netns.driver.process_status import Roots, number_inside, problems, roots_of

NONE = "0" * 16
GOOD = {
    "Name": "sleep",
    "NSpid": "4242\t1",
    "Uid": "1000\t1000\t1000\t1000",
    "Gid": "1000\t1000\t1000\t1000",
    "Groups": "1000 ",
    "CapInh": NONE,
    "CapPrm": NONE,
    "CapEff": NONE,
    "CapBnd": NONE,
    "CapAmb": NONE,
    "NoNewPrivs": "1",
    "Seccomp": "2",
}


def status(**changed: str | None) -> str:
    return "".join(f"{key}:\t{value}\n" for key, value in (GOOD | changed).items() if value is not None)


def test_as_it_should_be() -> None:
    assert problems(status()) == ()
    assert problems(status(Groups="")) == ()


@pytest.mark.parametrize("key", ["Uid", "Gid"])
@pytest.mark.parametrize("place", range(4))
def test_none_of_the_four_ids_is_root(key: str, place: int) -> None:
    ids = ["1000"] * 4
    ids[place] = "0"
    assert problems(status(**{key: "\t".join(ids)})) == (f"{key} is {' '.join(ids)} (root)",)


def test_no_supplementary_group_is_root() -> None:
    assert problems(status(Groups="0 1000")) == ("Groups is 0 1000 (root)",)


@pytest.mark.parametrize("key", ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
def test_no_capability_in_any_set(key: str) -> None:
    assert problems(status(**{key: f"{1 << 12:016x}"})) == (f"{key} is 0000000000001000, not 0",)


@pytest.mark.parametrize(("key", "value"), [("NoNewPrivs", "0"), ("Seccomp", "0"), ("Seccomp", "1")])
def test_what_must_be_on(key: str, value: str) -> None:
    (problem,) = problems(status(**{key: value}))
    assert problem.startswith(f"{key} is {value}, not ")


@pytest.mark.parametrize("key", [key for key in GOOD if key not in {"Name", "NSpid"}])
@pytest.mark.parametrize("value", [None, "x", "1000 x"])
def test_what_cannot_be_read_is_a_problem(key: str, value: str | None) -> None:
    (problem,) = problems(status(**{key: value}))
    assert problem.startswith(f"{key} is ")


def test_root_of_a_user_namespace_is_root() -> None:
    roots = roots_of("         0     100000      65536\n", "0 200000 1\n 1 300000 65536\n")
    assert roots == Roots(frozenset({0, 100000}), frozenset({0, 200000}))
    mapped = status(Uid="100000\t" * 4, Gid="200000\t" * 4, Groups="200000")
    assert [problem.split()[0] for problem in problems(mapped, roots)] == ["Uid", "Gid", "Groups"]
    assert problems(status(Uid="101000\t" * 4, Gid="201000\t" * 4, Groups=""), roots) == ()


def test_a_map_that_says_nothing_leaves_zero() -> None:
    assert roots_of("", "nonsense\n1 2\n") == Roots()


def test_a_name_is_no_field() -> None:
    assert problems(status(Name="a\x0cSeccomp:\t2", Seccomp=None)) == ("Seccomp is absent, not 2",)


def test_numbers_in_pid_namespaces() -> None:
    assert number_inside(status()) == (1, 2)
    assert number_inside(status(NSpid=None)) == (0, 0)
    assert number_inside(status(NSpid="x")) == (0, 0)


def test_the_kernel_writes_it_so() -> None:
    own = Path("/proc/self/status").read_text()
    assert number_inside(own)[0] == os.getpid()
    assert not [problem for problem in problems(own) if "not to be read" in problem or "absent" in problem]
