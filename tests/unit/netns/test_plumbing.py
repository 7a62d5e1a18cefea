"""The protocol that the Docker driver codes against is what the real one offers."""

import inspect

import pytest

from netns.plumbing import Endpoints
from netns.wiring import KernelPlumbing

METHODS = [name for name, value in vars(Endpoints).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
def test_the_real_plumbing_has_the_protocols_signatures(name):
    wanted, offered = getattr(Endpoints, name), getattr(KernelPlumbing, name)
    assert inspect.signature(offered) == inspect.signature(wanted)
    assert inspect.iscoroutinefunction(offered) == inspect.iscoroutinefunction(wanted)


def test_there_is_something_to_compare():
    assert {"attach", "detach", "describe", "add_network", "remove_network"} <= set(METHODS)
