"""Section H: secrets that a container may use and never see, and what is tried to see them, or to use another's.

A provider of the battery repeats whatever authority it was sent, in the way that the last segment of its path
says. Where a canary is `known`, only a request with the real secret counts, which nobody but the broker has.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.verify import caller
from appliance.verify.attempts import Attempt, Way, by, command, get
from appliance.verify.case import Canary, Case, Outcome, Output
from appliance.verify.commands import curl
from appliance.verify.parts import requested
from appliance.verify.world import Account, Accounts, World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
INSIDE_TLS = (Way.TUNNEL, Way.PORT_443)
GREETING, SCRUBBED = "hello from the lab", "[scrubbed:secret]"
CERTIFIED = ("--env", "EGRESS_WORKLOAD_CERTIFICATE=1")
LABEL = "egress.verify.stolen"
KILLED = 137
SECONDS = 20.0
CALLER = Path(caller.__file__).read_text(encoding="utf-8")
MADE_UP = "hb_cred_" + "A" * 32
Step = Sequence[object]


def rows(world: World) -> list[Case]:
    """None where there is no account with a secret of ours."""
    accounts = world.targets.accounts
    if accounts is None:
        return []
    return [
        *_served(world, accounts),
        _collisions(world, accounts),
        _references(world, accounts),
        _names(world, accounts),
        _base_urls(world, accounts),
        _smuggled_word(world, accounts),
        _interface(world, accounts),
        _stolen(world, accounts),
        *_answers(world, accounts),
    ]


def called(world: World, account: Account, path: str, *, known: bool = True) -> Canary:
    """A request to the account's provider, with its secret, or (not `known`) with whatever authority."""
    words = ("--header", f"Authorization: Bearer {account.secret}", "--output", "/dev/null")
    return Canary(
        f"{f'the secret of {account.name}' if known else 'anything'} at {account.site.name}{path}",
        world.calls(account, path, known=known),
        lambda: world.fetch(account.site, path.replace("*", "control"), *words),
    )


def asked(world: World, account: Account, path: str) -> Canary:
    """Anything at all that its provider is asked."""
    return called(world, account, path, known=False)


def says(*steps: Step, known: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Steps of `appliance.verify.caller` as a command."""
    return ("python3", "-c", CALLER, json.dumps(steps), *([json.dumps(known)] if known else []))


def reads(label: str, account: Account, path: str, authority: str | None = None, **fields: str) -> Step:
    """A step: a GET at the account's provider."""
    own = {} if authority is None else {"Authorization": f"Bearer {authority}"}
    return (label, "request", "GET", f"https://{account.site.name}{path}", {**own, **fields})


def _served(world: World, accounts: Accounts) -> list[Case]:
    """What makes the others worth something."""
    mirror, chat, theirs = accounts.mirror, accounts.chat, accounts.theirs
    base = "https://integrations.egress.internal/openai"
    steps: tuple[Step, ...] = (
        reads("none", mirror, "/works/plain"),
        reads("reference", mirror, "/works/plain", f"agentsecrets://{mirror.name}"),
        ("base", "request", "GET", f"{base}/v1/models", {}),
    )
    return [
        Case("H1-works", "a call of a bound tenant: its provider gets the secret, it gets the answer without it", REACHES,
             says(*steps), (called(world, mirror, "/works/*"), called(world, chat, "/v1/models")),
             expect=("none 200", "reference 200", "base 200", f"Bearer {SCRUBBED}"),
             forbid=(mirror.secret, chat.secret)),
        Case("H1-works-theirs", "and one of another tenant with its own account", REACHES,
             says(reads("own", theirs, "/works/plain")), (called(world, theirs, "/works/*"),),
             expect=("own 200", f"Bearer {SCRUBBED}"), forbid=(theirs.secret,), tenant="lister"),
        Case("H1-unbound", "a tenant without the account, in every way that its owner uses", REFUSED,
             says(*steps, reads("handle", mirror, "/works/plain", MADE_UP)),
             (asked(world, mirror, "/works/*"), asked(world, chat, "/v1/models")),
             expect=("none failed Tunnel connection failed: 403", "reference failed", "base 403 integration-not-bound", "handle failed"),
             forbid=(GREETING, " 200 "), tenant="lister"),
    ]  # fmt: skip


OWN_AUTHORITY: tuple[tuple[str, dict[str, str]], ...] = (
    ("bearer", {"Authorization": "Bearer sk-of-somebody-else"}),
    ("basic", {"Authorization": "Basic c29tZWJvZHk6ZWxzZQ=="}),
    ("another-field", {"X-Api-Key": "of-somebody-else"}),
    ("cookie", {"Cookie": "session=of-somebody-else"}),
)


def _collisions(world: World, accounts: Accounts) -> Case:
    mirror = accounts.mirror

    def run(inner: World) -> Output:
        with ThreadPoolExecutor(len(OWN_AUTHORITY)) as pool:
            return Output(0, "".join(pool.map(one, [inner] * len(OWN_AUTHORITY), OWN_AUTHORITY)))

    def one(inner: World, attempt: tuple[str, dict[str, str]]) -> str:
        label, fields = attempt
        steps = (reads("sent", mirror, "/collides/plain", **fields), ("after", "wait", SECONDS / 2))
        output = inner.run("reader", says(*steps), options=("--label", f"{LABEL}={label}"))
        end = "is stopped" if output.status == KILLED else f"GOES ON ({output.status})"
        return f"{label} {end}: {output.text}\n"

    return Case("H2-collisions", "an authority of the container's own, in the slot and beside it: it is stopped", REFUSED, run,
                (asked(world, mirror, "/collides/*"),),
                expect=tuple(f"{label} is stopped" for label, _ in OWN_AUTHORITY),
                forbid=("GOES ON", GREETING, "after waited"))  # fmt: skip


def _references(world: World, accounts: Accounts) -> Case:
    t, mirror, chat, theirs = world.targets, accounts.mirror, accounts.chat, accounts.theirs
    www = Account(mirror.name, t.www, mirror.secret)

    def names(account: Account) -> str:
        return f"agentsecrets://{account.name}"

    steps = (
        reads("another-tenants", mirror, "/reference/plain", names(theirs)),
        reads("another-accounts", mirror, "/reference/plain", names(chat)),
        reads("nobodys", mirror, "/reference/plain", "agentsecrets://nobody"),
        reads("made-up", mirror, "/reference/plain", MADE_UP),
        reads("elsewhere", www, "/canary/reference", names(mirror)),
        reads("elsewhere-handle", www, "/canary/reference", MADE_UP),
        reads("elsewhere-field", www, "/canary/reference", **{"X-Note": names(mirror)}),
        reads("elsewhere-query", www, f"/canary/reference?q={names(mirror)}"),
        reads("at-theirs", theirs, "/reference/plain", names(theirs)),
    )
    return Case("H3-references", "references to what is another tenant's, another account's or nobody's, and to another host",
                REFUSED, says(*steps),
                (called(world, mirror, "/reference/*"), called(world, theirs, "/reference/*"),
                 requested(world, t.www, "/canary/reference*")),
                expect=("another-tenants 403 reference-unknown", "another-accounts 403 reference-unknown",
                        "nobodys 403 reference-unknown", "made-up 403 handle-dead", "elsewhere 403 secret-not-bound",
                        "elsewhere-handle 403 secret-not-bound", "elsewhere-field 403 secret-not-bound",
                        "elsewhere-query 403 secret-not-bound", "at-theirs 403 secret-not-bound"),
                forbid=(GREETING, " 200 "))  # fmt: skip


def _names(world: World, accounts: Accounts) -> Case:
    """D4 with a secret at stake: it goes to the host that was judged, whatever else the request says."""
    t, mirror, chat, theirs = world.targets, accounts.mirror.site, accounts.chat.site, accounts.theirs.site
    path = "/canary/fronted/plain"
    pairs = (("chat", mirror, chat.name), ("theirs", mirror, theirs.name), ("other", mirror, t.other.name),
             ("www", t.www, mirror.name), ("port", mirror, f"{mirror.name}:8443"), ("address", mirror, mirror.address))  # fmt: skip
    attempts: list[Attempt] = [
        by(way, site, f"H4.{number}-{label}", get(host, path))
        for number, (label, site, host) in enumerate(pairs)
        for way in INSIDE_TLS
    ]
    canaries = tuple(
        asked(world, a, "/canary/fronted/*") for a in (accounts.mirror, accounts.theirs, accounts.chat)
    )
    return Case("H4-names", "a provider's name in TLS and another in Host, both ways", REFUSED,
                command(attempts), (*canaries, requested(world, t.other, "/canary/fronted/plain")),
                expect=tuple(f"{each.name} {each.way}: 4" for each in attempts), forbid=(" served ",))  # fmt: skip


BASE_URLS = (
    ("unbound", "/anthropic/v1/messages"),
    ("nothing", "/"),
    ("upper", "/OPENAI/v1/models/trick"),
    ("name-of-an-account", "/chat/v1/models/trick"),
    ("upwards", "/openai/../mirror/trick/plain"),
    ("upwards-escaped", "/openai/%2e%2e/mirror/trick/plain"),
    ("out", "/openai/../../trick"),
    ("slash", "/openai%2Fv1/models/trick"),
    ("empty", "/openai//v1/models/trick"),
    ("authority", "/openai@other.example.com/canary/trick"),
    ("host", "/other.example.com/canary/trick"),
    ("url", "/https://other.example.com/canary/trick"),
    ("no-group", "/openai/v1/organization/trick"),
    ("upwards-inside", "/openai/v1/models/../organization/trick"),
)


def _base_urls(world: World, accounts: Accounts) -> Case:
    t, own = world.targets, "integrations.egress.internal"
    steps: list[Step] = [(label, "request", "GET", f"https://{own}{path}", {}) for label, path in BASE_URLS]
    steps.append(
        ("forwarded", "request", "GET", f"https://{own}/anthropic/trick", {"X-Forwarded-Host": t.other.name})
    )
    expect = tuple(f"{label} 4" for label, _ in BASE_URLS)
    return Case("H5-base-urls", "base-URL mode asked for what is not bound, in every spelling", REFUSED, says(*steps),
                (asked(world, accounts.chat, "/v1/*trick"), asked(world, accounts.mirror, "/trick/*"),
                 requested(world, t.other, "/canary/trick")),
                expect=expect, forbid=(GREETING, " 200 "))  # fmt: skip


def _smuggled_word(world: World, accounts: Accounts) -> Case:
    """The gateway's word stands before each request that it hands over: nothing of a request passes for one."""
    mirror, theirs = accounts.mirror, accounts.theirs
    word = json.dumps({
        "request_id": "x", "tenant": world.tenants["lister"], "endpoint": "x", "container": "", "run": "",
        "source": "1.2.3.4:5", "worker": 0, "account": theirs.name, "generation": "x", "port": 443, "withheld": "",
    }).encode()  # fmt: skip
    inner = word + b"\n" + get(theirs.site.name, "/smuggled/plain")
    json_type = "Content-Type: application/json"
    host = mirror.site.name
    forms = {
        "in-the-body": get(host, "/works/plain", json_type, f"Content-Length: {len(inner)}", method="POST", body=inner),
        "behind-the-body": get(host, "/works/plain", json_type, "Content-Length: 2", method="POST", body=b"{}" + inner),
        "before": inner,
        "behind": get(host, "/works/plain") + inner,
        "in-a-field": get(host, "/works/plain", f"X-Note: a\n{inner.decode()}"),
        "in-a-chunk": get(host, "/works/plain", json_type, "Transfer-Encoding: chunked", method="POST",
                          body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)),
        "in-an-extension": get(host, "/works/plain", json_type, "Transfer-Encoding: chunked", method="POST",
                               body=b"2;a=" + inner.replace(b"\r\n", b"\n") + b"\r\n{}\r\n0\r\n\r\n"),
        "in-a-trailer": get(host, "/works/plain", json_type, "Transfer-Encoding: chunked", method="POST",
                            body=b"2\r\n{}\r\n0\r\nX: " + inner + b"\r\n\r\n"),
    }  # fmt: skip
    attempts = [
        by(way, mirror.site, f"H6.{number}-{label}", request)
        for number, (label, request) in enumerate(forms.items())
        for way in INSIDE_TLS
    ]
    return Case("H6-word", "the gateway's word on a call, written by a container: in its body, behind it, in a field", REFUSED,
                command(attempts), (asked(world, theirs, "/smuggled/*"), asked(world, mirror, "/smuggled/*")),
                expect=tuple(f"{each.name} {each.way}: " for each in attempts),
                forbid=(theirs.secret, mirror.secret))  # fmt: skip


def _wish(account: Account, path: str, **headers: str) -> dict[str, object]:
    url = f"https://{account.site.name}{path}"
    return {"account": account.name, "url": url, "method": "GET", "headers": headers, "body": None}


SESSION: Step = ("POST", "/v1/session", {}, {"ttl": 120})
TOKEN = {"Authorization": "Bearer $token"}


def _interface(world: World, accounts: Accounts) -> Case:
    mirror, chat, theirs = accounts.mirror, accounts.chat, accounts.theirs

    def executes(label: str, wish: Mapping[str, object], fields: Mapping[str, str] = TOKEN) -> Step:
        return (label, "broker", "POST", "/execute", fields, wish)

    elsewhere = {**_wish(chat, "/v1/models/stolen"), "url": f"https://{mirror.site.name}/stolen/plain"}
    steps: tuple[Step, ...] = (
        ("session", "broker", *SESSION),
        executes("own", _wish(mirror, "/works/plain")),
        ("given", "broker", "POST", "/v1/handles", TOKEN, {"account": chat.name}),
        ("own-handle", "request", "GET", f"https://{chat.site.name}/v1/models", {"Authorization": "Bearer $handle"}),
        executes("no-session", _wish(mirror, "/stolen/plain"), {}),
        executes("theirs", _wish(theirs, "/stolen/plain")),
        executes("elsewhere", elsewhere),
        executes("their-reference", _wish(mirror, "/stolen/plain", Authorization=f"Bearer agentsecrets://{theirs.name}")),
        executes("token-in-it", _wish(mirror, "/stolen/plain", Authorization="Bearer $token")),
        executes("no-url", {**_wish(mirror, "/stolen/plain"), "url": f"http://{mirror.site.name}/stolen/plain"}),
        ("their-handle", "broker", "POST", "/v1/handles", TOKEN, {"account": theirs.name}),
        ("other-account", "request", "GET", f"https://{mirror.site.name}/stolen/plain", {"Authorization": "Bearer $handle"}),
        ("ended", "broker", "DELETE", "/v1/handles", TOKEN),
        ("dead", "request", "GET", f"https://{chat.site.name}/v1/models/stolen", {"Authorization": "Bearer $handle"}),
        ("bare", "without"),
        executes("no-certificate", _wish(mirror, "/stolen/plain")),
        ("again", "own"),
        ("closed", "broker", "DELETE", "/v1/session", TOKEN),
        executes("over", _wish(mirror, "/stolen/plain")),
    )  # fmt: skip

    def run(inner: World) -> Output:
        return inner.run("reader", says(*steps), options=CERTIFIED)

    return Case("H7-interface", "the broker's interface without a session, a certificate, for another's account, with dead handles",
                REFUSED, run,
                (called(world, mirror, "/stolen/*"), called(world, chat, "/v1/models/*"), called(world, theirs, "/stolen/*")),
                expect=("own 200", "own-handle 200", "no-session 401", "theirs 403 account-not-bound", "elsewhere 40",
                        "their-reference 403 reference-unknown", "token-in-it 400 token-in-request", "no-url 400 url-invalid",
                        "their-handle 403", "other-account 403 handle-dead", "dead 403 handle-dead", "no-certificate failed",
                        "over 401 session_revoked"),
                forbid=(mirror.secret, chat.secret, theirs.secret))  # fmt: skip


def _stolen(world: World, accounts: Accounts) -> Case:
    """Two containers of one tenant: what the first has is worth nothing to the second."""
    mirror = accounts.mirror
    wish = _wish(mirror, "/stolen/plain")
    gives: tuple[Step, ...] = (
        ("session", "broker", *SESSION),
        ("given", "broker", "POST", "/v1/handles", TOKEN, {"account": mirror.name}),
        reads("own", mirror, "/works/plain", "$handle"),
        ("has", "tell"),
        ("stays", "wait", SECONDS),
    )
    tries: tuple[Step, ...] = (
        reads("handle", mirror, "/stolen/plain", "$handle"),
        ("token", "broker", "POST", "/execute", TOKEN, wish),
        ("taken", "take"),
        ("certificate", "broker", "POST", "/v1/session", {}, {"ttl": 60}),
        ("both", "broker", "POST", "/execute", TOKEN, wish),
    )
    left: tuple[Step, ...] = (reads("left", mirror, "/stolen/plain", "$handle"),)

    def run(inner: World) -> Output:
        mark = f"{LABEL}={secrets.token_hex(6)}"
        with ThreadPoolExecutor(1) as pool:
            giving = pool.submit(inner.run, "reader", says(*gives), options=(*CERTIFIED, "--label", mark))
            has, first = _reads_along(inner, mark, giving.done)
            second = inner.run("reader", says(*tries, known=has), options=CERTIFIED)
            for name in inner.docker("ps", "-q", "--filter", f"label={mark}").text.split():
                inner.docker("rm", "-f", name)
            giving.result()
        third = inner.run("reader", says(*left, known=has), options=CERTIFIED)
        return Output(second.status, first + second.text + third.text)

    return Case("H8-stolen", "handle, token and certificate of another container of the same tenant, and of one that has left",
                REFUSED, run, (called(world, mirror, "/stolen/*"),),
                expect=("own 200", "handle 403 handle-dead", "token 401 certificate_mismatch", "certificate 401 workload_link_mismatch",
                        "both 401 workload_link_mismatch", "left 403 handle-dead"),
                forbid=(mirror.secret,))  # fmt: skip


def _reads_along(world: World, mark: str, ended: Any) -> tuple[dict[str, Any], str]:
    """What the container with that label has told of itself, and all that it wrote. Raises `OSError`."""
    deadline = time.monotonic() + SECONDS
    said = ""
    while time.monotonic() < deadline and not ended():
        for name in world.docker("ps", "-q", "--filter", f"label={mark}").text.split():
            said = world.docker("logs", name).text
            for line in said.splitlines():
                if line.startswith("has {"):
                    return json.loads(line.removeprefix("has ")), said.partition("has {")[0]
        threading.Event().wait(0.1)
    raise OSError(f"the first container has told nothing: {said}")


def _answers(world: World, accounts: Accounts) -> list[Case]:
    mirror, other = accounts.mirror, world.targets.other
    secret = mirror.secret
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    forms = (
        secret,
        secret.encode().hex(),
        quote(secret, safe=""),
        encoded,
        base64.b64encode(b"x:" + secret.encode()).decode()[4:20],
    )
    kinds = ("plain", "header", "gzip", "split", "bytes", "sse", "error", "forbidden", "redirect", "forms")
    first = secret.partition("/")[0]
    return [
        Case("H9-echo", "a provider that repeats the secret: in texts, fields, events, errors, coded, in pieces", REACHES,
             says(*(reads(kind, mirror, f"/echo/{kind}") for kind in kinds)), (called(world, mirror, "/echo/*"),),
             expect=(SCRUBBED, "plain 200", "header 200", "gzip 200", "split 200", "bytes 200", "sse 200", "error 500",
                     "forbidden 403", "redirect 302", "forms 200"), forbid=("Set-Cookie", *forms)),
        Case("H9-away", "a provider that sends the container away with the secret in the address", REFUSED,
             curl("--location", "--dump-header", "-", f"https://{mirror.site.name}/echo/away"),
             (requested(world, other, f"/canary/{first}*"),), expect=("HTTP/1.1 302",), forbid=(first,)),
    ]  # fmt: skip
