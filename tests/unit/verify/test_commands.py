from __future__ import annotations

import subprocess

from appliance.verify import commands


def output(command: tuple[str, ...], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", **environment}
    )
    return done.stdout


def test_attempts_are_parted_by_a_comma() -> None:
    words = commands.probe(("tcp", "1.2.3.4", "22"), ("udp", "1.2.3.4", "53"))
    assert words[:2] == ("python3", "-c")
    assert words[3:] == ("tcp", "1.2.3.4", "22", ",", "udp", "1.2.3.4", "53")


def test_words_reach_a_script_as_they_are_but_for_the_proxy() -> None:
    strange = 'a\'b "c" $HOME *;'
    command = commands.script(("printf", "%s\n", strange, "$HTTP_PROXY"))
    assert output(command, HTTP_PROXY="http://x:1").splitlines() == [strange, "http://x:1"]


def test_a_script_goes_on_after_a_line_that_failed() -> None:
    assert output(commands.script(("false",), ("echo", "two"))) == "two\n"


def test_together_waits_for_all() -> None:
    lines = output(commands.together(("sh", "-c", "sleep 0.2; echo late"), ("echo", "soon"))).split()
    assert lines == ["soon", "late"]


def test_no_variable_is_left() -> None:
    assert "PROXY" not in output((*commands.UNSET, "env"), HTTP_PROXY="x", no_proxy="y").upper()


def test_both_ways_are_the_proxy_and_past_it() -> None:
    first, second, *_ = commands.both_ways("http://x/")[2].splitlines()
    assert "--noproxy" not in first
    assert "--noproxy" in second
