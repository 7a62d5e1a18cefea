"""The eleven, each with what it must find and what it must leave alone."""

from __future__ import annotations

import base64
import json
import time

import pytest

from appliance.broker.scrub import patterns
from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.patterns import BUILT_IN, PemRest, own_pattern, with_own
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.sequences import compiled, whole

ALNUM = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# RFC 7515 appendix A.1: a header of two members with white space between them.
RFC_JWT = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
PEM = "-----BEGIN {0}PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5\nJJcds3xfn/ygWyF8+==\n-----END {0}PRIVATE KEY-----"
ENCRYPTED = PEM.replace("{0}", "RSA ").replace(
    "\nMII", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\nMII"
)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


TRUE = {
    "jwt": [
        RFC_JWT,
        f"{segment({'alg': 'ES256', 'kid': 'k' * 3000})}.{segment({'sub': 'x' * 9000})}.{ALNUM}",
        f"{segment({'x5t#S256': 'abc', 'alg': 'none'})}.{segment({'a': 1})}.",
        f"{segment({'enc': 'A256GCM', 'alg': 'dir'})}..{ALNUM[:16]}.{ALNUM}.{ALNUM[:22]}",
    ],
    "github-token": [f"gh{kind}_{ALNUM[:36]}" for kind in "pousr"] + ["ghs_1234567_" + "aB" * 100],
    "google-access-token": ["ya29." + "a0AfH6SM_-" * 15, "ya29.c.b0Aaekm1K" + "Ab" * 20],
    "slack-token": [
        "xoxb-123456789012-1234567890123-" + ALNUM[:24],
        "xoxp-1234567890",
        "xoxe.xoxp-1-" + ALNUM,
    ],
    "handle": ["hb_cred_" + "Ab-_" * 10],
    "aws-access-key-id": ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"],
    "stripe-live-key": ["sk_live_" + ALNUM[:24], "rk_live_" + ALNUM * 2],
    "google-api-key": ["AIza" + "Sy-_" + ALNUM[:31]],
    "llm-key": [
        "sk-" + ALNUM[:48],
        "sk-proj-" + "Ab1-_" * 20,
        "sk-svcacct-" + "Ab1-_" * 20,
        "sk-ant-api03-" + "Ab1-_" * 19 + "AA",
        "sk-ant-admin01-" + "Ab1-_" * 19,
        "sk-or-v1-" + "0123456789abcdef" * 4,
        "sk-" + "0123456789abcdef" * 2,
    ],
    "github-fine-grained-token": ["github_pat_" + ALNUM[:22] + "_" + ALNUM[:59]],
    "private-key": [
        *(PEM.format(kind) for kind in ("", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH ", "DSA ")),
        PEM.format("").replace("\n", "\\n"),
        PEM.format("").replace("\n", "\\r\\n"),
        ENCRYPTED,
        PEM.format("")
        .replace("KEY", "KEY BLOCK")
        .replace("BEGIN ", "BEGIN PGP ")
        .replace("END ", "END PGP "),
    ],
}
FALSE = {
    "jwt": [
        segment({"id": 12, "after": "2026-01-01"}),
        "eyJ",
        "eyJhbGciOi",
        'eyJ is how {" begins',
        "file.eyJ",
        segment({"algorithm": "quick", "x": "y" * 50}),
    ],
    "github-token": ["ghp_short", "ghp_" + "a" * 19, "GHP_" + "A" * 36, "gha_" + "a" * 36, "ghp-" + "a" * 36],
    "google-access-token": ["ya29.", "ya29.short", "ya30." + "a" * 40, "ya29-" + "a" * 40],
    "slack-token": ["xoxb-", "xoxb-12345", "xox-1234567890", "foxb-1234567890123"],
    "handle": ["hb_cred_", "hb_cred_short", "hb_credentials_are_listed_here"],
    "aws-access-key-id": [
        "AKIA",
        "AKIA-IOSFODNN7EXAMPLE",
        "akiaiosfodnn7example",
        "AKIAIOSFODNN7EXAMPL",
        "ASIAN FOOD",
    ],
    "stripe-live-key": ["sk_test_" + ALNUM, "pk_live_" + ALNUM, "sk_live_", "sk_live_short"],
    "google-api-key": ["AIza", "AIza" + "a" * 34, "AIZA" + "a" * 40],
    "llm-key": [
        "sk-learn",
        "sk-learn-contrib/sk-learn-pipeline-estimators-for-everybody-2026",
        "task-" + ALNUM,
        "disk-0123456789abcdef0123456789abcdef",
        "risk-" + "0123456789abcdef" * 2,
        "sk-project-of-the-people-and-for-the-people",
        "sk-ant-colony-optimisation-of-travelling-salesmen",
        "ask-me-anything",
        "sk-",
        "sk-short",
    ],
    "github-fine-grained-token": ["github_pat_", "github_pat_short", "github_path_" + ALNUM],
    "private-key": [
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "BEGIN PRIVATE KEY",
        "--BEGIN PRIVATE KEY--",
    ],
}
PLAIN = Scrubber()
NAMES = [pattern.name for pattern in BUILT_IN]


def test_004_36_there_are_exactly_eleven_named_patterns() -> None:
    assert list(TRUE) == NAMES
    assert len(set(NAMES)) == 11
    assert set(FALSE) == set(TRUE)


@pytest.mark.parametrize(("name", "token"), [(name, token) for name in TRUE for token in TRUE[name]])
def test_004_36_a_credential_is_found_by_its_looks_and_taken_out_whole(name: str, token: str) -> None:
    for before, after in (
        ("", ""),
        ("Bearer ", "\r\n"),
        ('{"a":"', '"}'),
        ("(", ")"),
        ('"\\n', '"'),
        ("_", "'"),
    ):
        if before == "_" and name == "jwt":
            continue  # part of another token's alphabet
        assert PLAIN.text(before + token + after) == f"{before}[scrubbed:{name}]{after}"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in FALSE for text in FALSE[name]])
def test_004_36_what_only_resembles_a_credential_stays(name: str, text: str) -> None:
    for whole_text in (text, f'{{"a":"{text}"}}', f"see {text} there"):
        assert PLAIN.text(whole_text) == whole_text, name


def test_004_36_a_token_of_an_unknown_kind_of_header_loses_what_authorises() -> None:
    payload, signature = segment({"sub": "alice"}), ALNUM
    token = f"{segment({'version': 1, 'alg': 'HS256'})}.{payload}.{signature}"
    scrubbed = PLAIN.text(token)
    assert payload not in scrubbed
    assert signature not in scrubbed


def test_004_36_every_pattern_is_needed() -> None:
    """Each finds something that no other one would."""
    for left_out in BUILT_IN:
        others = Scrubber(patterns=tuple(pattern for pattern in BUILT_IN if pattern is not left_out))
        assert any(others.text(token) == token for token in TRUE[left_out.name]), left_out.name


def test_004_36_no_pattern_matches_nothing() -> None:
    for pattern in BUILT_IN:
        assert not compiled(whole(pattern.parts)).match(b"")


HOSTILE = {
    "heads": b"eyJhbGciOi.eyJsk-ghp_xoxb-AKIAAIza" * 20,
    "a run that never ends": b"eyJhbGciOi" + b"a" * 700,
    "many beginnings": b"-----BEGIN " * 60,
    "nearly keys": (b"sk-" + b"a" * 19 + b" ") * 30,
    "dashes in a key": b"-----BEGIN PRIVATE KEY-----" + b"- " * 300,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_004_36_time_grows_with_the_length_and_no_faster(text: bytes) -> None:
    def seconds(data: bytes) -> float:
        best = 9.0
        for _ in range(3):
            begun = time.process_time()
            PLAIN.octets(data)
            best = min(best, time.process_time() - begun)
        return best

    short, long = text * 100, text * 1600
    assert seconds(long) < 16 * 4 * seconds(short) + 0.05  # squared it would be 256 times


def test_a_pem_block_ends_where_its_end_is_told() -> None:
    text = f"{PEM.format('EC ')}\nnothing secret here"
    assert PLAIN.text(text) == "[scrubbed:private-key]\nnothing secret here"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_pem_block_is_swallowed_in_pieces(size: int) -> None:
    text = (ENCRYPTED.partition("-----")[2].partition("-----")[2] + "\nafter").encode()
    tail, swallowed = PemRest(), 0
    for at in range(0, len(text), size):
        piece = text[at : at + size]
        end, over = tail.end(piece, 0)
        swallowed += end
        if over:
            break
    assert text[swallowed:] == b"\nafter"


def test_a_pem_block_that_breaks_off_is_swallowed_up_to_what_no_pem_holds() -> None:
    assert (
        PLAIN.text('{"k":"-----BEGIN PRIVATE KEY-----\\nMIIE","next":1}')
        == '{"k":"[scrubbed:private-key]","next":1}'
    )


def test_an_operator_adds_a_pattern() -> None:
    scrubber = Scrubber(patterns=with_own([own_pattern("acme", "acme_", "hex", 16)]))
    assert scrubber.text("acme_0123456789abcdefff!") == "[scrubbed:acme]!"
    assert scrubber.text("acme_0123456789abcde") == "acme_0123456789abcde"
    assert scrubber.text(TRUE["handle"][0]) == "[scrubbed:handle]"


@pytest.mark.parametrize(
    ("name", "prefix", "alphabet", "at_least"),
    [
        ("Acme", "acme_", "hex", 16),
        ("", "acme_", "hex", 16),
        ("a" * 33, "acme_", "hex", 16),
        ("acme\n", "acme_", "hex", 16),
        ("acme", "", "hex", 16),
        ("acme", "ab", "hex", 16),
        ("acme", "a" * 33, "hex", 16),
        ("acme", "(a+)+", "hex", 16),
        ("acme", "acmé_", "hex", 16),
        ("acme", "acme_\n", "hex", 16),
        ("acme", "acme_", "[a-z]*", 16),
        ("acme", "acme_", "hex", 0),
        ("acme", "acme_", "hex", 7),
        ("acme", "acme_", "hex", 129),
    ],
)
def test_004_36_a_pattern_without_bounds_is_refused(
    name: str, prefix: str, alphabet: str, at_least: int
) -> None:
    with pytest.raises(ScrubFault) as caught:
        own_pattern(name, prefix, alphabet, at_least)
    assert caught.value.code == "scrub-pattern-invalid"


def test_an_operators_patterns_are_bounded_and_distinct() -> None:
    pattern = own_pattern("acme", "acme_", "hex", 16)
    for own in ([pattern, pattern], [own_pattern("jwt", "acme_", "hex", 16)]):
        with pytest.raises(ScrubFault, match="two patterns of one name"):
            with_own(own)
    many = [own_pattern(f"acme-{number}", "acme_", "hex", 16) for number in range(patterns.MOST_OWN + 1)]
    assert len(with_own(many[1:])) == 11 + patterns.MOST_OWN
    with pytest.raises(ScrubFault, match="more than"):
        with_own(many)
