"""The library instead of the program: namespaces, threads, refusals."""

import threading

import pytest

from netns import libnftables, namespaces
from netns.libnftables import Form

pytestmark = pytest.mark.system

TABLE = "table ip probe {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n}\n"


def test_it_works_in_the_namespace_of_the_calling_thread():
    with namespaces.scratch():
        libnftables.run(TABLE)
        assert "set s" in libnftables.run("list table ip probe")
        with namespaces.scratch(), pytest.raises(libnftables.Refused, match="No such file"):
            libnftables.run("list table ip probe")


def test_a_check_changes_nothing():
    with namespaces.scratch():
        libnftables.run(TABLE, check_only=True)
        assert libnftables.run("list ruleset") == ""


def test_a_text_that_the_library_would_cut_is_refused_whole():
    with namespaces.scratch():
        with pytest.raises(libnftables.Refused, match="octet of zero"):
            libnftables.run(TABLE + "\0add table ip second\n")
        assert libnftables.run("list ruleset") == ""


def test_forms():
    with namespaces.scratch():
        libnftables.run(TABLE + "add element ip probe s { 10.0.0.1 }\n")
        assert libnftables.run("list table ip probe", Form.JSON).startswith('{"nftables"')
        assert "element" in libnftables.run("list table ip probe", Form.BYTECODE).partition("table ip")[0]
        assert "ip probe" not in libnftables.run("list table ip probe").partition("table ip")[0]


def test_threads_do_not_disturb_each_other():
    failed = []

    def work(number):
        try:
            with namespaces.scratch():
                for _ in range(20):
                    libnftables.run(TABLE.replace("probe", f"probe{number}"))
                    assert f"probe{number}" in libnftables.run("list ruleset")
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
