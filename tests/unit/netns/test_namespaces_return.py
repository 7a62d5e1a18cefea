"""A thread that cannot come back from a namespace ends the process."""

import errno
import os
import subprocess
import sys

import pytest

from netns import namespaces

STRANDED = """
from netns import namespaces

def refused(descriptor, what):
    raise namespaces.NamespaceError(f"setns to {what}: no")

namespaces._setns = refused
try:
    with namespaces._returning():
        pass
except BaseException:
    print("went on")
"""


def test_a_thread_that_cannot_return_ends_the_process():
    done = subprocess.run([sys.executable, "-c", STRANDED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "setns to the own network namespace: no; a thread is in a foreign namespace" in done.stderr


def test_the_descriptor_is_closed_whatever_happens_inside(monkeypatch):
    opened = []

    def came_back(descriptor, _what):
        opened.append(descriptor)

    monkeypatch.setattr(namespaces, "_setns", came_back)
    with pytest.raises(ZeroDivisionError), namespaces._returning():
        _ = 1 / 0
    with pytest.raises(OSError) as error:
        os.fstat(opened[0])
    assert error.value.errno == errno.EBADF
