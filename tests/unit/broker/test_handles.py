"""appliance.broker.handles: three phases, 300 seconds, and dead for good.

One file for one life: the phases share what a handle was registered with.
"""

from __future__ import annotations

import base64
import copy
import gc
import hashlib
import hmac
import itertools
import pickle
import re
import secrets
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from appliance.broker.handles import HANDLE, LIFE, Bound, HandleLimits, HandleRefused, Handles, Pending
from appliance.broker.vault.kinds import StaticSecret
from appliance.broker.vault.vault import Stored

CANARY = "canary-0123456789-secret"
STORED = Stored(3, b"d" * 32)


class Cleared:
    """Counts how often a material was given back."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def material(value: str = CANARY) -> StaticSecret:
    return StaticSecret(value=SecretStr(value))


def nothing() -> None:
    pass


def bound(tenant: str, execution: str, account: str) -> Bound:
    return Bound(tenant, execution, account, "openai", "openai-key")


BOUND = bound("acme", "run-1", "openai-acme")


def register(
    handles: Handles,
    where: Bound = BOUND,
    secret: StaticSecret | None = None,
    release: Callable[[], object] = nothing,
) -> str:
    """Asked for and given at once."""
    return handles.register(handles.ask(where), secret or material(), STORED, release)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handles(clock: Clock) -> Handles:
    return Handles(clock)


def test_004_03_a_handle_is_a_prefix_and_24_random_octets(clock: Clock) -> None:
    asked: list[int] = []

    def randomness(octets: int) -> str:
        asked.append(octets)
        return secrets.token_urlsafe(octets)

    handle = register(Handles(clock, randomness))
    assert re.fullmatch(r"hb_cred_[A-Za-z0-9_-]{32}", handle)
    assert asked == [24]
    assert len(base64.urlsafe_b64decode(handle.removeprefix("hb_cred_"))) == 24


def test_004_03_by_default_the_system_is_the_source_of_randomness(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Handles(clock)._randomness is secrets.token_urlsafe


def test_004_04_two_handles_for_one_secret_have_nothing_in_common(handles: Handles) -> None:
    names = [register(handles, bound("acme", f"run-{n}", "a")) for n in range(100)]
    assert len(set(names)) == 100
    random_parts = [base64.urlsafe_b64decode(name.removeprefix("hb_cred_")) for name in names]
    for one, other in itertools.combinations(random_parts, 2):
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 12


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60))
def test_004_04_a_handle_depends_on_randomness_alone(secret: str) -> None:
    fixed = secrets.token_urlsafe(24)
    handles = Handles(Clock(), lambda octets: fixed)
    handle = register(handles, BOUND, material(secret))
    assert handle == f"hb_cred_{fixed}"
    octets = base64.urlsafe_b64decode(fixed)
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        assert not hashlib.new(name, secret.encode()).digest().startswith(octets[:8])
        assert not hmac.digest(b"hb_cred_", secret.encode(), name).startswith(octets[:8])


# Runs in a process of its own, because an audit hook stays until the process ends. It sees every file, socket,
# directory and child that Python opens, and it must see one that is opened on purpose.
WATCHED = """
import sys
from pydantic import SecretStr
from twisted.internet.task import Clock
from appliance.broker.handles import Bound, Handles
from appliance.broker.vault.kinds import StaticSecret
from appliance.broker.vault.vault import Stored

seen, watching = [], False
CALLS = ("open", "socket.", "os.", "subprocess.", "shutil.", "tempfile.", "mmap.", "sqlite3.", "pickle.", "syslog.")

def hook(event, arguments):
    if watching and event.startswith(CALLS):
        seen.append(event)

sys.addaudithook(hook)
clock = Clock()
handles = Handles(clock)
bound = Bound("acme", "run-1", "openai", "openai", "key")
material = StaticSecret(value=SecretStr("canary-0123456789-secret"))
stored = Stored(1, b"d" * 32)
watching = True
handle = handles.register(handles.ask(bound), material, stored, lambda: None)
assert handles.resolve(handle, bound) == (material, stored)
other = handles.register(handles.ask(bound), material, stored, lambda: None)
handles.revoke_all("run-1")
other_bound = Bound("acme", "run-2", "openai", "openai", "key")
handles.register(handles.ask(other_bound), material, stored, lambda: None)
clock.advance(300)
watching = False
assert not seen, seen
assert not handles
watching = True
open("/dev/null").close()
watching = False
assert seen == ["open"], seen
"""


def test_004_05_registering_and_resolving_touch_no_file_socket_or_store() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], check=False, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_004_05_004_06_the_map_cannot_be_written_anywhere(handles: Handles) -> None:
    register(handles)
    with pytest.raises(TypeError, match="never written"):
        pickle.dumps(handles)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never written"):
            duplicate(handles)


def test_004_06_after_a_restart_every_handle_is_dead(clock: Clock, handles: Handles) -> None:
    handle = register(handles)
    assert handles.resolve(handle, BOUND) is not None
    assert Handles(clock).resolve(handle, BOUND) is None


def test_004_07_the_name_is_drawn_after_the_secret_is_there_and_says_nothing(clock: Clock) -> None:
    steps: list[str] = []

    def decrypt() -> StaticSecret:
        steps.append("decrypted")
        return material()

    def randomness(octets: int) -> str:
        steps.append("named")
        return secrets.token_urlsafe(octets)

    handles = Handles(clock, randomness)
    handle = handles.register(handles.ask(BOUND), decrypt(), STORED, lambda: steps.append("cleared"))
    found = handles.resolve(handle, BOUND)
    assert found is not None
    assert isinstance(found.material, StaticSecret)
    steps.append("used")
    assert found.material.value.get_secret_value() == CANARY
    assert handles.revoke_all("run-1") == 1
    assert steps == ["decrypted", "named", "used", "cleared"]


def test_004_08_the_time_that_material_is_held_is_counted(clock: Clock, handles: Handles) -> None:
    register(handles)
    clock.advance(2.5)
    handles.revoke_all("run-1")
    register(handles, bound("acme", "run-2", "a"))
    clock.pump([100.0] * 10)
    assert (handles.lives.purged, handles.lives.seconds, handles.lives.longest) == (2, 302.5, LIFE)


def test_004_08_what_is_purged_is_empty_for_whoever_still_has_it(handles: Handles) -> None:
    handle = register(handles)
    held = handles._held[handle]
    handles.revoke_all("run-1")
    assert held.material is None
    assert held.release is None


@pytest.mark.parametrize("end", ["completed", "failed", "timed out", "resolved late", "process ends"])
def test_004_08_material_is_cleared_once_and_no_longer_referred_to(
    clock: Clock, handles: Handles, end: str
) -> None:
    cleared, secret = Cleared(), material()
    gone = weakref.ref(secret)
    handle = register(handles, BOUND, secret, cleared)
    del secret
    gc.collect()
    assert gone() is not None
    if end == "timed out":
        clock.advance(LIFE)
    elif end == "resolved late":
        clock.rightNow += LIFE  # no delayed call was made yet
        assert handles.resolve(handle, BOUND) is None
        clock.advance(0)
    elif end == "process ends":
        assert handles.revoke_everything() == 1
    else:
        assert handles.revoke_all("run-1") == 1
    gc.collect()
    assert gone() is None
    assert cleared.times == 1
    assert len(handles) == 0
    assert handles.revoke_all("run-1") == 0
    clock.advance(2 * LIFE)
    assert cleared.times == 1
    assert not clock.getDelayedCalls()


def test_004_11_a_handle_is_dead_after_completion(clock: Clock, handles: Handles) -> None:
    mine = [register(handles) for _ in range(3)]
    other_bound = bound("acme", "run-2", "openai-acme")
    other = register(handles, other_bound)
    assert handles.revoke_all("run-1") == 3
    assert [handles.resolve(handle, BOUND) for handle in mine] == [None] * 3
    assert handles.resolve(other, other_bound) is not None
    assert handles.revoke_all("run-9") == 0


def test_004_12_a_handle_is_dead_after_a_failure_whatever_clearing_says(handles: Handles) -> None:
    """Dead before anything is cleared, and one that cannot be cleared keeps no other alive."""
    alive: list[bool] = []
    names: list[str] = []

    def looks() -> None:
        alive.extend(handles.resolve(name, BOUND) is not None for name in names)
        raise OSError(CANARY)

    def try_call() -> None:
        names.extend(register(handles, BOUND, release=looks) for _ in range(3))
        try:
            raise ConnectionError
        finally:
            assert handles.revoke_all("run-1") == 3

    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        with pytest.raises(ConnectionError):
            try_call()
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert alive == [False] * 9
    assert len(events) == 3
    assert CANARY not in repr(events)


def test_004_12_a_secret_that_arrives_after_the_end_gets_no_handle(handles: Handles) -> None:
    """The caller left while its secret was being decrypted in a thread."""
    pending = handles.ask(BOUND)
    handles.revoke_all("run-1")
    cleared = Cleared()
    with pytest.raises(HandleRefused) as refused:
        handles.register(pending, material(), STORED, cleared)
    assert refused.value.code == "execution-ended"
    assert cleared.times == 1
    assert len(handles) == 0


def test_004_13_alive_at_299_seconds_dead_at_300_without_traffic(clock: Clock, handles: Handles) -> None:
    cleared = Cleared()
    handle = register(handles, BOUND, release=cleared)
    clock.advance(299)
    assert handles.resolve(handle, BOUND) is not None
    later = register(handles)
    clock.advance(1)
    assert (cleared.times, len(handles)) == (1, 1)  # nobody asked
    assert handles.resolve(handle, BOUND) is None
    assert handles.resolve(later, BOUND) is not None
    clock.advance(299)
    assert len(handles) == 0


def test_004_13_use_does_not_prolong_a_handle(clock: Clock, handles: Handles) -> None:
    handle = register(handles)
    for _ in range(299):
        clock.advance(1)
        assert handles.resolve(handle, BOUND) is not None
    clock.advance(1)
    assert handles.resolve(handle, BOUND) is None


def test_004_13_a_late_reactor_does_not_prolong_a_handle(clock: Clock, handles: Handles) -> None:
    handle = register(handles)
    clock.rightNow += LIFE
    assert handles.resolve(handle, BOUND) is None
    assert len(handles) == 0


def test_004_14_a_revoked_handle_is_never_given_again(clock: Clock) -> None:
    draws = iter(["A" * 32, "A" * 32, "B" * 32, "B" * 32, "B" * 32, "B" * 32, "B" * 32])
    handles = Handles(clock, lambda octets: next(draws))
    first = register(handles)
    handles.revoke_all("run-1")
    again = bound("acme", "run-2", "openai-acme")
    second = register(handles, again, material("another-secret"))
    assert (first, second) == (f"hb_cred_{'A' * 32}", f"hb_cred_{'B' * 32}")
    assert handles.resolve(first, BOUND) is None
    assert handles.resolve(first, again) is None
    cleared = Cleared()
    with pytest.raises(HandleRefused) as refused:  # one that lives is not given twice either
        register(handles, again, release=cleared)
    assert refused.value.code == "randomness-broken"
    assert cleared.times == 1
    assert handles.resolve(second, again) is not None


def test_004_14_an_ended_execution_stays_ended(clock: Clock, handles: Handles) -> None:
    register(handles)
    handles.revoke_all("run-1")
    clock.advance(100 * LIFE)
    with pytest.raises(HandleRefused, match="execution-ended"):
        register(handles)


@pytest.mark.parametrize(
    "asked",
    [
        bound("other", "run-1", "openai-acme"),
        bound("acme", "run-2", "openai-acme"),
        bound("acme", "run-1", "stripe-acme"),
        replace(BOUND, integration="stripe"),
        replace(BOUND, secret="openai-key-2"),
    ],
)
def test_004_11_a_handle_means_nothing_where_it_is_not_bound(handles: Handles, asked: Bound) -> None:
    handle = register(handles)
    assert handles.resolve(handle, asked) is None
    assert handles.resolve(handle, BOUND) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda handle: "",
        lambda handle: handle.upper(),
        lambda handle: handle + " ",
        lambda handle: handle + "=",
        lambda handle: handle[:-1],
        lambda handle: handle.removeprefix("hb_cred_"),
        lambda handle: "\x00" + handle,
    ],
)
def test_only_the_very_text_is_a_handle(handles: Handles, change: Callable[[str], str]) -> None:
    handle = register(handles)
    assert handles.resolve(change(handle), BOUND) is None


@pytest.mark.parametrize("broken", ["", "short", "A" * 33, "A" * 31 + "\n", "A" * 31 + "+"])
def test_a_broken_source_of_randomness_gives_no_handle(clock: Clock, broken: str) -> None:
    with pytest.raises(HandleRefused, match="randomness-broken"):
        register(Handles(clock, lambda octets: broken))


def test_how_many_live_is_bounded_three_times(clock: Clock) -> None:
    handles = Handles(clock, limits=HandleLimits(of_execution=2, of_tenant=3, in_all=4))

    def take(tenant: str, execution: str) -> str:
        cleared, where = Cleared(), bound(tenant, execution, "a")
        try:
            handles.register(Pending(where), material(), STORED, cleared)
        except HandleRefused as error:
            assert cleared.times == 1
            with pytest.raises(HandleRefused, match=error.code):
                handles.ask(where)
            return error.code
        return ""

    assert [take("one", "x") for _ in range(3)] == ["", "", "handles-of-execution"]
    assert [take("one", "y") for _ in range(2)] == ["", "handles-of-tenant"]
    assert [take("two", "z") for _ in range(2)] == ["", "handles-in-all"]
    assert len(handles) == 4
    handles.revoke_all("x")
    assert [take("two", "z"), take("one", "y")] == ["", ""]
    clock.advance(LIFE)
    assert len(handles) == 0
    assert not handles._tenants
    assert not handles._executions


def test_what_is_over_is_remembered_within_bounds(
    clock: Clock, handles: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.broker.handles._REMEMBERED", 10)
    for number in range(50):
        execution = f"run-{number}"
        register(handles, bound("acme", execution, "a"))
        handles.revoke_all(execution)
    assert len(handles._ended._names) == len(handles._dead._names) == 10
    assert not clock.getDelayedCalls()
    with pytest.raises(HandleRefused, match="execution-ended"):
        register(handles, bound("acme", "run-49", "a"))


def test_who_holds_handles_is_told_without_them(clock: Clock, handles: Handles) -> None:
    other = bound("other", "run-2", "stripe")
    register(handles)
    clock.advance(10)
    register(handles, other)
    clock.advance(5)
    assert handles.live() == [(BOUND, 15.0), (other, 5.0)]
    handles.revoke_all("run-1")
    assert handles.live() == [(other, 5.0)]


def test_nothing_printed_shows_a_handle_or_a_secret(handles: Handles) -> None:
    handle = register(handles)
    shown = repr(handles) + str(handles) + repr(handles.lives)
    assert "1 live" in shown
    assert handle not in shown
    assert CANARY not in shown
    assert HANDLE.fullmatch(handle)


def test_an_account_that_is_taken_away_has_no_handle_and_others_have_theirs(handles: Handles) -> None:
    bounds = [
        bound("acme", "run-1", "crm"), bound("acme", "run-2", "crm"), bound("acme", "run-1", "bank"),
        bound("globex", "run-3", "crm"),
    ]  # fmt: skip
    names = [register(handles, where) for where in bounds]
    assert handles.revoke_account("acme", "crm") == 2
    alive = [handles.resolve(name, where) is not None for name, where in zip(names, bounds, strict=True)]
    assert alive == [False, False, True, True]
    register(handles, bounds[0])


def test_what_was_decrypted_can_be_dropped_without_ending_an_execution(handles: Handles) -> None:
    cleared = Cleared()
    name = register(handles, BOUND, release=cleared)
    assert handles.purge_everything() == 1
    assert (handles.resolve(name, BOUND), cleared.times) == (None, 1)
    register(handles)


@pytest.mark.parametrize(
    "withdraw", [lambda h: h.revoke_account("acme", "crm"), lambda h: h.purge_everything()]
)
def test_a_secret_that_arrives_after_its_withdrawal_gets_no_handle(
    handles: Handles, withdraw: Callable[[Handles], int]
) -> None:
    """It was read before its account, or itself, was taken away or replaced."""
    where, cleared = bound("acme", "run-1", "crm"), Cleared()
    pending = handles.ask(where)
    assert withdraw(handles) == 0
    with pytest.raises(HandleRefused) as refused:
        handles.register(pending, material(), STORED, cleared)
    assert refused.value.code == "policy-changed"
    assert (cleared.times, len(handles)) == (1, 0)
    register(handles, where)


def test_a_withdrawal_is_no_other_accounts(handles: Handles) -> None:
    mine, its, others = (
        handles.ask(bound(*where, account))
        for *where, account in (
            ("acme", "run-1", "crm"),
            ("globex", "run-3", "crm"),
            ("acme", "run-1", "bank"),
        )
    )
    handles.revoke_account("acme", "crm")
    for pending in (its, others):
        handles.register(pending, material(), STORED, nothing)
    with pytest.raises(HandleRefused, match="policy-changed"):
        handles.register(mine, material(), STORED, nothing)


def test_who_asked_and_went_is_not_kept(handles: Handles) -> None:
    pending = handles.ask(BOUND)
    handles.register(pending, material(), STORED, nothing)
    del pending
    gc.collect()
    assert not handles._pending
