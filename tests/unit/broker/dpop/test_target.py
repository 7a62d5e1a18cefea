"""appliance.broker.dpop.target: RFC 3986 sections 6.2.2 and 6.2.3, for http and https."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.dpop.target import MAX_TARGET, InvalidTarget, TargetUri


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("http://example.com", "http://example.com/"),
        ("http://example.com/", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("HTTP://www.EXAMPLE.com/", "http://www.example.com/"),
        ("https://example.com/%7Esmith/", "https://example.com/~smith/"),
        ("https://example.com/a%c2%b1b", "https://example.com/a%C2%B1b"),
        ("https://example.com/a/./b/../b/%63/%7bfoo%7d", "https://example.com/a/b/c/%7Bfoo%7D"),
        ("https://example.com/a/..", "https://example.com/"),
        ("https://example.com/a?x=/../b#../c", "https://example.com/a"),
        ("https://example.com?x", "https://example.com/"),
        ("https://example.com#x", "https://example.com/"),
        ("https://example.com/a%2Fb", "https://example.com/a%2Fb"),
        ("https://[2001:DB8::0:1]:443/x", "https://[2001:db8::1]/x"),
        ("https://[::1]:8443/", "https://[::1]:8443/"),
        ("https://192.0.2.1/", "https://192.0.2.1/"),
    ],
)
def test_equivalent_spellings_become_one(written: str, normal: str) -> None:
    target = TargetUri.parse(written)
    assert target.text == normal
    assert TargetUri.parse(target.text) == target


def test_case_of_a_path_and_empty_last_segments_mean_something() -> None:
    texts = {"https://a.example/X", "https://a.example/x", "https://a.example/x/", "http://a.example/x", "https://a.example:444/x",
             "https://a.example/x;y", "https://a.example/x%3By"}  # fmt: skip
    assert len({TargetUri.parse(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    "scheme", ["ftp", "ws", "wss", "file", "data", "javascript", "httpx", "https+unix", "h"]
)
def test_000_14_other_schemes_are_refused(scheme: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        TargetUri.parse(f"{scheme}://example.com/")
    assert caught.value.reason == "htu_scheme"


@pytest.mark.parametrize("userinfo", ["a:b@", "a@", "@", ":@", "%00@", "example.com%2F@", "a@b@"])
def test_000_15_userinfo_is_refused(userinfo: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        TargetUri.parse(f"https://{userinfo}example.com/")
    assert caught.value.reason == "htu_userinfo"


@pytest.mark.parametrize(
    "text",
    ["", "/", "/x", "//example.com/", "example.com", "https:", "https:/", "https://", "https:///x", "https:example.com", "://example.com/",
     "1http://example.com/", " https://example.com/", "https://example.com/ ", "https://exam ple.com/", "https://example.com/\t",
     "https://example.com\r\n/", "https://example.com/\x00", "https://ex\u00e4mple.com/", "https://example.com/\u00e4", "https://example.com:0/",
     "https://example.com:65536/", "https://example.com:x/", "https://example.com::/", "https://example.com:80:80/", "https://example.com./",
     "https://example.com.:443/", "https://./", "https://%65xample.com/", "https://exa_mple.com/", "https://2130706433/", "https://0x7f.1/",
     "https://127.1/", "https://01.2.3.4/", "https://[::1/", "https://::1/", "https://[::1%25eth0]/", "https://[v1.x]/", "https://example.com\\x",
     "https://example.com/\\x", "https://example.com/%2e%2e/x", "https://example.com/a/%2E/x", "https://example.com/../x", "https://example.com/%",
     "https://example.com/%0g", "https://example.com/%00", "https://example.com//x", "https://example.com/..;/x", "https://example.com/%5cx",
     "https://example.com/%252e%252e/x", "https://example.com/a%2F../x", "https://example.com/%ff", "https://example.com/" + "x" * MAX_TARGET],
)  # fmt: skip
def test_what_two_could_read_in_two_ways_is_no_target(text: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        TargetUri.parse(text)
    assert caught.value.reason == "htu_invalid"
    assert len(text) < 3 or text not in str(caught.value)


@settings(deadline=None)
@given(st.text("htps:/.@[]%2eEfF?#;\\ \tab1", max_size=30))
def test_a_normal_form_is_its_own(rest: str) -> None:
    for text in (rest, f"https://a.example/{rest}", f"http://{rest}/"):
        try:
            target = TargetUri.parse(text)
        except InvalidTarget:
            continue
        assert TargetUri.parse(target.text) == target
        assert target.text.startswith(("http://", "https://"))
        assert not set(target.text) & set("?#\\ \t")
        assert "@" not in target.text.split("/")[2]
