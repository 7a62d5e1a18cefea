"""Stepping into namespaces and back, with the thread alone."""

import threading
from pathlib import Path

import pytest

from netns import namespaces

pytestmark = pytest.mark.system
OWN = Path("/proc/thread-self/ns/net")


@pytest.fixture
def name(rig):
    made = f"nn{rig.tag}"
    namespaces.create(made)
    yield made
    namespaces.remove(made)


def test_inside_is_there_and_afterwards_is_here(name):
    before = OWN.stat().st_ino
    with namespaces.entered(name):
        assert OWN.stat().st_ino == namespaces.identity(name) != before
    assert OWN.stat().st_ino == before


def test_an_error_inside_still_brings_us_back(name):
    before = OWN.stat().st_ino
    with pytest.raises(ZeroDivisionError), namespaces.entered(name):
        _ = 1 / 0
    assert OWN.stat().st_ino == before


def test_other_threads_stay_where_they_are(name):
    before, seen, go = OWN.stat().st_ino, [], threading.Event()

    def look():
        go.wait(10)
        seen.append(OWN.stat().st_ino)

    other = threading.Thread(target=look)
    other.start()
    with namespaces.entered(name):
        go.set()
        other.join()
    assert seen == [before]


def test_a_scratch_namespace_is_empty_and_new(name):
    with namespaces.scratch():
        links = Path("/proc/thread-self/net/dev").read_text()
    assert "eth0" not in links


def test_no_namespace_is_an_error_with_the_mend():
    with (
        pytest.raises(namespaces.NamespaceError, match="is egress-netd running"),
        namespaces.entered("no-such-one"),
    ):
        pass
    assert namespaces.identity("no-such-one") is None
    namespaces.remove("no-such-one")


def test_a_leftover_file_is_replaced(name):
    leftover = f"{name}x"
    namespaces.path(leftover).touch()
    assert namespaces.identity(leftover) is None
    namespaces.create(leftover)
    assert namespaces.identity(leftover) is not None
    namespaces.remove(leftover)
    assert not namespaces.path(leftover).exists()
