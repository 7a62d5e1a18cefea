"""Which apt sources an image is built from: Debian's own, signed, of the wanted release."""

from __future__ import annotations

from pathlib import Path

import pytest
from debian_sources import NoDebianSource, host_sources, parse_deb822, parse_one_line
from recipes import RECIPES

MIRROR = "http://mirror.example.com/debian"
DEB822 = f"""Types: deb deb-src
# a comment within a stanza
URIs: {MIRROR}
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://third.example.com
Suites: bookworm
Components: stable
"""


def test_deb822_keeps_debians_suites_and_its_key() -> None:
    (source,) = parse_deb822(DEB822, "bookworm")
    assert source.uris == MIRROR
    assert source.suites == ("bookworm", "bookworm-updates")
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n" in source.deb822()
    assert "Components: main\n" in source.deb822()


def test_one_line_with_options() -> None:
    text = f"deb [arch=amd64 signed-by=/k.gpg] {MIRROR} bookworm main non-free # note\n# deb {MIRROR} bookworm main\n"
    (source,) = parse_one_line(text, "bookworm")
    assert (source.uris, source.suites, source.options) == (MIRROR, ("bookworm",), (("Signed-By", "/k.gpg"),))


@pytest.mark.parametrize(
    "line",
    [
        f"deb-src {MIRROR} bookworm main",
        f"deb {MIRROR} trixie main",
        f"deb {MIRROR} nodistro main",
        f"deb {MIRROR} bookworm contrib",
        f"deb [trusted=yes] {MIRROR} bookworm main",  # would switch signature checking off
        "deb",
        "",
    ],
)
def test_what_is_not_debians_is_left_out(line: str) -> None:
    assert parse_one_line(line, "bookworm") == []


@pytest.mark.parametrize("field", ["Enabled: no", "Trusted: yes"])
def test_a_stanza_that_is_off_or_unsigned_is_left_out(field: str) -> None:
    text = f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\n{field}\n"
    assert parse_deb822(text, "bookworm") == []


def test_a_key_within_the_stanza_survives() -> None:
    text = f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n"
    (source,) = parse_deb822(text, "bookworm")
    assert "Signed-By: \n -----BEGIN\n .\n -----END\n" in source.deb822()


def test_host_sources_read_every_file(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(f"deb {MIRROR} bookworm main\n")
    (parts / "security.sources").write_text(DEB822.replace("bookworm ", "bookworm-security "))
    (parts / "gone.list.disabled").write_text(f"deb {MIRROR}/x bookworm main\n")
    assert len(host_sources("bookworm", tmp_path)) == 2


def test_a_host_without_debian_sources_is_told_where_to_put_one(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    with pytest.raises(NoDebianSource, match=r"debian\.sources"):
        host_sources("bookworm", tmp_path)


def test_the_digest_follows_every_input() -> None:
    python, node = RECIPES.values()
    digests = {
        python.digest("bookworm", b"entry"),
        python.digest("trixie", b"entry"),
        python.digest("bookworm", b"other"),
        node.digest("bookworm", b"entry"),
    }
    assert len(digests) == 4


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_images_start_unprivileged_with_the_entry_point(recipe) -> None:
    changes = recipe.changes("0" * 64)
    assert "USER 1000:1000" in changes
    assert 'ENTRYPOINT ["/usr/local/bin/egress-entrypoint"]' in changes
    assert not [change for change in changes if "proxy" in change.lower()]  # the entry point's business
