"""Squid's files: readable by its uid alone, empty at the start, and never replaced by what Squid refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path, PurePosixPath

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.policy.set import PolicySet
from appliance.tls.authority import issue_intermediate, issue_root, new_key, signing_request
from appliance.tls.intermediate import Intermediate
from squid.files import NotUsable, install, prepare, sign_with
from squid.model import fallback_of
from squid.render import Place, render
from tests.unit.policy.written import compiled

pytestmark = pytest.mark.system


def intermediate() -> Intermediate:
    now, root_key, key = datetime.now(UTC), new_key(), new_key()
    root = issue_root(root_key, "test", now)
    return Intermediate(key, issue_intermediate(root, root_key, signing_request(key), "test", now), root)


@pytest.fixture
def place(tmp_path):
    folder = PurePosixPath(tmp_path / "squid")
    Path(folder).mkdir()
    authority = tmp_path / "ca.pem"
    authority.write_bytes(intermediate().root.public_bytes(Encoding.PEM))
    made = Place(
        IPv4Address("127.0.0.1"), 1, folder, PurePosixPath(authority), (IPv4Address("127.0.0.1"),)
    )  # fmt: skip
    prepare(made)
    sign_with(made, intermediate())
    return made


def test_every_file_is_for_one_uid(place):
    install(place, render(fallback_of(PolicySet(generation="g1"), {}), place))
    for file in Path(place.directory).iterdir():
        if file.is_file():
            assert file.stat().st_mode & 0o077 == 0, file


def test_a_start_leaves_no_key_of_an_earlier_run(place):
    assert Path(place.signing).exists()
    Path(place.directory, "planted").symlink_to("/etc")
    prepare(place)
    assert not Path(place.signing).exists()
    assert not Path(place.leaves).exists()
    assert Path("/etc/passwd").exists()


def test_a_new_key_leaves_no_certificate_of_the_old_one(place):
    old = Path(place.signing).read_bytes()
    Path(place.leaves, "certs", "old.pem").write_text("old")
    sign_with(place, intermediate())
    assert Path(place.signing).read_bytes() != old
    assert not Path(place.leaves, "certs", "old.pem").exists()


def test_what_squid_refuses_does_not_replace_what_it_took(place):
    good = render(fallback_of(PolicySet(generation="g1"), {}), place)
    install(place, good)
    with pytest.raises(NotUsable, match="no_such_directive"):
        install(place, good + "no_such_directive on\n")
    assert Path(place.configuration).read_text() == good


def test_a_directory_that_is_not_there(place):
    with pytest.raises(NotUsable, match="egress up"):
        prepare(replace(place, directory=place.directory / "absent"))


POLICIES = (
    "profile: read-only-web\n",
    "profile: allowlist\n",
    "rules:\n  - {name: n, effect: deny, hosts: [example.com, '*.example.com']}\n",
    """profile: allowlist
rules:
  - {name: a, hosts: [a.example.com, '*.a.example.com'], paths: ['/(x)/**', '/*/$', '/a+b', '/**/z'], query: any}
  - {name: b, hosts: ['*.example.org', example.org], schemes: [http, https], methods: [HEAD]}
  - {name: c, hosts: ['*.c.example.net'], ports: [8443]}
""",
)  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_squid_takes_what_is_rendered_for_every_kind_of_policy(place, policy):
    policies = PolicySet({"acme": compiled(policy), "other": compiled(POLICIES[3])}, "g1")
    pools = {
        "acme": (IPv4Network("172.20.0.2"),),
        "other": (IPv4Network("172.21.0.2"), IPv4Network("172.21.0.3")),
    }
    install(place, render(fallback_of(policies, pools), place))
