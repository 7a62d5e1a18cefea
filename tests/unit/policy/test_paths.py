"""Path patterns: what they match, and that covering and overlapping are told rightly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.paths import PathPattern, deny_paths, one_fits, readings


def matches(pattern: str, path: str) -> bool:
    return PathPattern.parse(pattern).matches(path)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("/", ["/"], ["/a", "//"]),
        ("/a", ["/a"], ["/a/", "/A", "/ab", "/"]),
        ("/**", ["/", "/a", "/a/b/"], []),
        ("/simple/**", ["/simple/", "/simple/a", "/simple/a/b/"], ["/simple", "/simplest/a", "/x/simple/a"]),
        ("/a/*", ["/a/b"], ["/a/", "/a", "/a/b/", "/a/b/c"]),
        ("/*/b", ["/a/b"], ["//b", "/b", "/a/c/b"]),
        ("/a/**/z", ["/a/z", "/a/b/z", "/a/b/c/z", "/a/z/z"], ["/a/zz", "/az", "/a/b", "/a/z/b"]),
        ("/a/**/m/*/z", ["/a/m/x/z", "/a/m/m/x/z", "/a/b/m/x/z"], ["/a/m/z", "/a/m//z"]),
        ("/**/z", ["/z", "/a/z", "/a/b/z"], ["/z/a", "/"]),
    ],
)
def test_matching(pattern: str, yes: list[str], no: list[str]) -> None:
    for path in yes:
        assert matches(pattern, path), path
    for path in no:
        assert not matches(pattern, path), path


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("a", "write '/a'"),
        ("", "write '/'"),
        ("/a*", "write /*/ or /**"),
        ("/***", "write /*/ or /**"),
        ("/a/../b", "write where it leads"),
        ("/./b", "write where it leads"),
        ("/a?b=c", "under `query`"),
        ("/a#b", "under `query`"),
        ("/a b", "%XX"),
        ("/ü", "%XX"),
        ("/a%2f", "%XX"),
        ("/a%", "%XX"),
        ("/a\\b", "%XX"),
        ("/%41", "write 'A'"),
        ("/%7E", "write '~'"),
        ("/%2E%2E", "write '.'"),
    ],
)
def test_what_is_no_pattern_says_what_to_write(text: str, mend: str) -> None:
    with pytest.raises(ValueError, match="; ") as refused:
        PathPattern.parse(text)
    assert mend in str(refused.value)


def test_matching_takes_linear_steps_however_many_wildcards() -> None:
    pattern = "/" + "/".join(["**", "a"] * 50)
    assert not matches(pattern, "/" + "/".join(["a"] * 2000) + "/b")


_segments = st.sampled_from(["a", "b", "*", "**"])
_patterns = st.lists(_segments, min_size=1, max_size=4).map(lambda s: PathPattern.parse("/" + "/".join(s)))
_paths = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=5).map(
    lambda s: "/" + "/".join(s)
)


@given(_patterns, _patterns, st.lists(_paths, min_size=1, max_size=30))
def test_covering_and_overlapping_are_never_claimed_wrongly(
    one: PathPattern, other: PathPattern, paths: list[str]
) -> None:
    for path in paths:
        if one.covers(other) and other.matches(path):
            assert one.matches(path)
        if one.matches(path) and other.matches(path):
            assert one.overlaps(other)
            assert other.overlaps(one)


@given(_patterns, _paths)
def test_short_ways_agree_with_the_long_way(pattern: PathPattern, path: str) -> None:
    long_way = PathPattern(pattern.text, pattern.segments, prefix=None, exact=False)
    assert pattern.matches(path) == long_way.matches(path)


@pytest.mark.parametrize(
    ("one", "other", "covers", "overlaps"),
    [
        ("/**", "/a", True, True),
        ("/a/**", "/a/b/*", True, True),
        ("/a/**", "/a", False, False),
        ("/*/b", "/a/*", False, True),
        ("/a", "/b", False, False),
        ("/*", "/**", False, True),
    ],
)
def test_covering_and_overlapping(one: str, other: str, *, covers: bool, overlaps: bool) -> None:
    a, b = PathPattern.parse(one), PathPattern.parse(other)
    assert a.covers(b) is covers
    assert a.overlaps(b) is overlaps


def test_one_of_several_patterns_is_enough() -> None:
    patterns = [PathPattern.parse(text) for text in ("/a/*", "/b/**")]
    assert one_fits(patterns, "/b/c/d")
    assert not one_fits(patterns, "/a/c/d")
    assert not one_fits([], "/")


def denied(pattern: str, path: str) -> bool:
    return deny_paths([PathPattern.parse(pattern)]).match(path)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("/admin/**", ["/admin/x", "/admin;a=b/x", "/admin;/x", "/admin%3Ba/x", "/Admin/x", "/%2561dmin/x",
                       "/%252561dmin/x", "/admin%2Fx"],
         ["/admin", "/administration;/x", "/x;/admin/x"]),
        ("/admin", ["/admin", "/admin/", "/admin;x/y", "/admin%3Fx", "/admin%23", "/ADMIN"], ["/admins", "/admin/x"]),
        ("/@evil/**", ["/%40evil/p", "/@evil%2Fp", "/%2540evil/p", "/@evil;x%2Fy/p"], ["/%40evil2/p"]),
        ("/%40evil/*", ["/@evil/p"], ["/@evil/p/q"]),
        ("/@s%2Fp", ["/%40s/p", "/@s%2Fp"], ["/@s%2Fpp"]),
        ("/a%20b", ["/a+b", "/a%20b", "/a%2520b"], ["/ab"]),
        ("/p/g%2Ft/files/*/raw", ["/p/g%2Ft/files/a%2Fb/raw", "/p/g/t/files/a/raw"], ["/p/g/t/files/a/b/raw"]),
        ("/p/*/repo/secret", ["/p/g%2Ft/repo%2Fsecret", "/p/g/repo/secret"], ["/p/g/t/repo/secret"]),
        ("/a/*", ["/a/b", "/a/b%2Fc", "/a%2Fb%2Fc"], ["/a", "/a/b/c"]),
        ("/%2A", ["/*", "/%2A"], ["/a"]),
        ("/a%2F..%2Fb", [], ["/b", "/a"]),
    ],
)  # fmt: skip
def test_a_deny_rule_takes_a_path_in_every_reading(pattern: str, yes: list[str], no: list[str]) -> None:
    for path in yes:
        assert denied(pattern, path), path
    for path in no:
        assert not denied(pattern, path), path


@given(
    st.lists(
        st.sampled_from(["a", "B", "*", "**", "%2F", "a%2Fb", "%40", "@", "x;y", "%3B", "%25", "%20", ""]),
        min_size=1,
        max_size=5,
    ),
    st.lists(
        st.sampled_from(["a", "B", "a%2Fb", "%40", "@", "x;y", "%3B", "%2561", "%20", "b"]),
        min_size=1,
        max_size=5,
    ),
)
def test_what_fits_as_it_is_written_is_denied(pattern: list[str], path: list[str]) -> None:
    written, sent = PathPattern.parse("/" + "/".join(pattern)), "/" + "/".join(path)
    if written.matches(sent):
        assert deny_paths([written]).match(sent)


def test_few_readings_however_strange_a_path_is() -> None:
    whole, split = readings("/a;b%2F%2540c%3Fd;e/%3Bf%2Fg;/" * 300)
    assert len(whole) + len(split) <= 48
