"""Kernel settings hold now and after a start of the host, in nobody's way, and go back to what they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugin import load

MODULE = load("modules/kernel_settings.py")
FORWARD = "net.ipv4.ip_forward"
REDIRECTS = "net.ipv4.conf.all.accept_redirects"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The /proc/sys of a host whose values are all as the kernel has them at first."""
    proc, etc = tmp_path / "sys", tmp_path / "etc"
    for name, value in ((FORWARD, "0"), (REDIRECTS, "1"), ("kernel.dmesg_restrict", "0")):
        place = proc / name.replace(".", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{value}\n")
    (etc / "sysctl.d").mkdir(parents=True)
    monkeypatch.setattr(MODULE, "PROC", proc)
    monkeypatch.setattr(MODULE, "ADMINISTRATORS", (etc / "sysctl.conf", etc / "sysctl.d"))
    return etc


def parameters(etc: Path, settings: dict[str, Any], name: str = "99-zz-network.conf") -> dict[str, Any]:
    return {"settings": settings, "watched": [FORWARD], "needed": [], "file": str(etc / "sysctl.d" / name)}


def test_it_holds_now_and_after_a_start(record: Any, kernel: Path) -> None:
    outcome = MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=False)
    assert outcome["set"] == [REDIRECTS]
    assert MODULE.value_of(REDIRECTS) == "0"
    assert (kernel / "sysctl.d" / "99-zz-network.conf").read_text() == MODULE.rendered({REDIRECTS: "0"})
    assert not MODULE.set_all(parameters(kernel, {REDIRECTS: False}), record, check=False)["changed"]


def test_what_drifted_is_set_again(record: Any, kernel: Path) -> None:
    MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=False)
    MODULE.place(REDIRECTS).write_text("1\n")
    assert MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=False)["set"] == [REDIRECTS]


def test_all_goes_back_and_what_others_changed_for_us_goes_first(record: Any, kernel: Path) -> None:
    asked = parameters(kernel, {REDIRECTS: 0})
    MODULE.set_all(asked, record, check=False)
    MODULE.place(FORWARD).write_text("1\n")
    outcome = MODULE.restore(asked, record, check=False)
    assert outcome["set"] == [FORWARD, REDIRECTS]
    assert (MODULE.value_of(FORWARD), MODULE.value_of(REDIRECTS)) == ("0", "1")
    assert list((kernel / "sysctl.d").iterdir()) == []
    assert record.section("kernel_settings") == {}
    assert not MODULE.restore(asked, record, check=False)["changed"]


def test_the_first_value_is_what_is_remembered(record: Any, kernel: Path) -> None:
    MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=False)
    MODULE.set_all(parameters(kernel, {REDIRECTS: 2}), record, check=False)
    MODULE.restore(parameters(kernel, {}), record, check=False)
    assert MODULE.value_of(REDIRECTS) == "1"


def test_what_is_wanted_no_more_goes_back_at_once(record: Any, kernel: Path) -> None:
    MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=False)
    MODULE.set_all(parameters(kernel, {"kernel.dmesg_restrict": 1}), record, check=False)
    assert MODULE.value_of(REDIRECTS) == "1"
    assert not MODULE.set_all(parameters(kernel, {"kernel.dmesg_restrict": 1}), record, check=False)[
        "changed"
    ]


def test_two_files_are_kept_apart(record: Any, kernel: Path) -> None:
    one, two = (
        parameters(kernel, {REDIRECTS: 0}),
        parameters(kernel, {"kernel.dmesg_restrict": 1}, "99-zz-k.conf"),
    )
    MODULE.set_all(one, record, check=False)
    MODULE.set_all(two, record, check=False)
    MODULE.restore(one, record, check=False)
    assert MODULE.value_of("kernel.dmesg_restrict") == "1"
    assert not MODULE.set_all(two, record, check=False)["changed"]


@pytest.mark.parametrize(
    "line", [f"{REDIRECTS}=1", "net/ipv4/conf/all/accept_redirects = 1", f"-{REDIRECTS} =1"]
)
@pytest.mark.parametrize("name", ["sysctl.conf", "sysctl.d/10-local.conf"])
def test_an_administrator_who_wants_it_otherwise_is_asked(
    record: Any, kernel: Path, line: str, name: str
) -> None:
    (kernel / name).write_text(f"# {REDIRECTS} = 0\n{line}\n")
    with pytest.raises(MODULE.Refused, match=f"accept_redirects is 1 in .*{name}, wanted 0"):
        MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=True)
    (kernel / name).write_text(f"{REDIRECTS} = 0\n")
    assert MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=True)["changed"]


def test_our_own_other_file_is_no_administrators(record: Any, kernel: Path) -> None:
    MODULE.set_all(parameters(kernel, {REDIRECTS: 0}, "99-zz-k.conf"), record, check=False)
    assert MODULE.set_all(parameters(kernel, {REDIRECTS: 1}), record, check=True)["set"] == [REDIRECTS]


def writing(monkeypatch: pytest.MonkeyPatch, name: str, effect: Callable[[], object]) -> None:
    """A kernel that does something of its own when the setting `name` is written."""
    write = Path.write_text

    def written(path: Path, text: str, **more: Any) -> int:
        done = write(path, text, **more)
        if path == MODULE.place(name):
            monkeypatch.setattr(Path, "write_text", write)
            effect()
        return done

    monkeypatch.setattr(Path, "write_text", written)


def test_what_a_watched_setting_resets_goes_back_too(
    record: Any, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = parameters(kernel, {REDIRECTS: 1})
    MODULE.set_all(asked, record, check=False)
    MODULE.place(FORWARD).write_text("1\n")
    writing(monkeypatch, FORWARD, lambda: MODULE.place(REDIRECTS).write_text("0\n"))
    MODULE.restore(asked, record, check=False)
    assert (MODULE.value_of(FORWARD), MODULE.value_of(REDIRECTS)) == ("0", "1")


def test_a_value_that_the_kernel_makes_another_of_is_told(
    record: Any, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing(monkeypatch, REDIRECTS, lambda: MODULE.place(REDIRECTS).write_text("1\n"))
    with pytest.raises(MODULE.Refused, match=f"the kernel made 1 of {REDIRECTS} = 7"):
        MODULE.set_all(parameters(kernel, {REDIRECTS: 7}), record, check=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("net.ipv4.nothing", "does not know net.ipv4.nothing"),
        ("../outside", "no name of a kernel setting"),
        ("net.ipv4.conf.*.rp_filter", "no name of a kernel setting"),
        ("forward", "no name of a kernel setting"),
    ],
)
def test_a_name_that_the_kernel_does_not_know_changes_nothing(
    record: Any, kernel: Path, name: str, says: str
) -> None:
    with pytest.raises(MODULE.Refused, match=says):
        MODULE.set_all(parameters(kernel, {REDIRECTS: 0, name: 1}), record, check=False)
    assert MODULE.value_of(REDIRECTS) == "1"
    assert list((kernel / "sysctl.d").iterdir()) == []


def test_a_kernel_that_belongs_to_the_machine_below_is_told(
    record: Any, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def closed(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if "+" in mode and path.is_relative_to(MODULE.PROC):
            raise OSError(30, "Read-only file system")
        return opened(path, mode, *arguments, **more)

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(MODULE.Refused, match=r"container that shares the kernel.*switch the topic off"):
        MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=True)
    assert not MODULE.set_all(parameters(kernel, {REDIRECTS: 1}), record, check=True)["set"]


def test_check_mode_changes_nothing(record: Any, kernel: Path) -> None:
    outcome = MODULE.set_all(parameters(kernel, {REDIRECTS: 0}), record, check=True)
    assert outcome["changed"]
    assert outcome["diff"] == {"before": f"{REDIRECTS} = 1\n", "after": f"{REDIRECTS} = 0\n"}
    assert MODULE.value_of(REDIRECTS) == "1"
    assert record.section("kernel_settings") == {}
    assert list((kernel / "sysctl.d").iterdir()) == []


DEFAULT = "net.ipv4.conf.default.send_redirects"


@pytest.fixture
def interfaces(kernel: Path) -> Callable[[str], str]:
    """Names a setting of an interface: `wan0` and `lan0` are there, the latter as its administrator has it."""
    for interface, value in (("default", "1"), ("wan0", "1"), ("lan0", "0")):
        place = MODULE.place(f"net.ipv4.conf.{interface}.send_redirects")
        place.parent.mkdir(parents=True)
        place.write_text(f"{value}\n")
    return lambda interface: f"net.ipv4.conf.{interface}.send_redirects"


def test_an_interface_that_came_back_with_our_default_has_its_own_again(
    record: Any, kernel: Path, interfaces: Callable[[str], str]
) -> None:
    asked = parameters(kernel, {DEFAULT: 0})
    assert MODULE.set_all(asked, record, check=False)["set"] == [DEFAULT]
    MODULE.place(interfaces("wan0")).write_text("0\n")  # a start of the host
    assert not MODULE.set_all(asked, record, check=False)["changed"]
    assert MODULE.value_of(interfaces("wan0")) == "0"
    assert MODULE.restore(asked, record, check=False)["set"] == [DEFAULT, interfaces("wan0")]
    assert [MODULE.value_of(interfaces(each)) for each in ("default", "wan0", "lan0")] == ["1", "1", "0"]


def test_what_an_administrator_gave_an_interface_meanwhile_stays(
    record: Any, kernel: Path, interfaces: Callable[[str], str]
) -> None:
    asked = parameters(kernel, {DEFAULT: 0})
    MODULE.set_all(asked, record, check=False)
    MODULE.place(interfaces("wan0")).write_text("2\n")
    MODULE.restore(asked, record, check=False)
    assert [MODULE.value_of(interfaces(each)) for each in ("default", "wan0")] == ["1", "2"]


@pytest.mark.parametrize("name", ["sysctl.conf", "sysctl.d/60-router.conf"])
def test_what_an_administrators_file_sets_by_then_stays(record: Any, kernel: Path, name: str) -> None:
    asked = parameters(kernel, {REDIRECTS: 0, "kernel.dmesg_restrict": 1})
    MODULE.set_all(asked, record, check=False)
    MODULE.place(FORWARD).write_text("1\n")
    (kernel / name).write_text(f"{FORWARD} = 1\n{REDIRECTS} = 0\n")
    outcome = MODULE.restore(asked, record, check=False)
    assert (outcome["set"], outcome["kept"]) == (["kernel.dmesg_restrict"], sorted([REDIRECTS, FORWARD]))
    assert (MODULE.value_of(FORWARD), MODULE.value_of(REDIRECTS)) == ("1", "0")
    assert record.section("kernel_settings") == {}


def test_an_interface_keeps_a_default_that_an_administrators_file_sets_by_then(
    record: Any, kernel: Path, interfaces: Callable[[str], str]
) -> None:
    asked = parameters(kernel, {DEFAULT: 0})
    MODULE.set_all(asked, record, check=False)
    MODULE.place(interfaces("wan0")).write_text("0\n")
    (kernel / "sysctl.conf").write_text(f"{DEFAULT}=0\n")
    assert MODULE.restore(asked, record, check=False)["set"] == []


def test_what_others_need_stays(record: Any, kernel: Path) -> None:
    asked = parameters(kernel, {REDIRECTS: 0})
    MODULE.set_all(asked, record, check=False)
    MODULE.place(FORWARD).write_text("1\n")
    outcome = MODULE.restore({**asked, "needed": [FORWARD]}, record, check=False)
    assert (outcome["set"], outcome["kept"]) == ([REDIRECTS], [FORWARD])
    assert MODULE.value_of(FORWARD) == "1"
