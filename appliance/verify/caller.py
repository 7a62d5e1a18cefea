"""What a workload says to providers and to the broker, in the standard library alone.

The text of this module is sent into a container (`python3 -c`); arguments: steps as JSON, `[label, way, …]`,
and an object of what it knows already. A step leaves a line: `LABEL STATUS REASON` where the refusal is ours,
else the provider's fields and words. `$token` and `$handle` in a step are those that it was given.
"""

import gzip
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any

SECONDS = 20
MOST = 4000
BROKER = "broker.egress.internal"
TAKEN = "/tmp/taken.pem"  # noqa: S108 - in a container of the battery's own
Known = dict[str, Any]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like another."""

    def redirect_request(self, *_words: Any, **_more: Any) -> None:
        """Not followed."""


def said(status: int, fields: Message, body: bytes) -> str:
    """One line: of a refusal the reason, of anything else all of it."""
    if fields.get("Content-Type") == "application/problem+json":
        return f"{status} {json.loads(body).get('reason')}"
    if fields.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    lines = "; ".join(f"{name}={value}" for name, value in fields.items())
    return f"{status} {lines}: {body[:MOST].decode('utf-8', 'backslashreplace')}".replace("\n", " ")


def request(_known: Known, method: str, url: str, fields: dict[str, str], body: str | None = None) -> str:
    """By the container's usual way."""
    data = None if body is None else body.encode()
    asked = urllib.request.Request(url, data, fields, method=method)  # noqa: S310 - https, by the rows
    try:
        with urllib.request.build_opener(NoRedirect).open(asked, timeout=SECONDS) as answer:
            return said(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return said(error.code, error.headers, error.read())
    except urllib.error.URLError as error:
        return f"failed {error.reason}"


def broker(known: Known, method: str, path: str, fields: dict[str, str], body: Any = None) -> str:
    """To the broker, with the certificate that is known or the container's own; keeps what it gives."""
    context = ssl.create_default_context()
    own = (os.environ.get("EGRESS_CLIENT_CERTIFICATE", ""), os.environ.get("EGRESS_CLIENT_KEY", ""))
    chosen = known.get("certificate", own)
    if chosen != "none":
        context.load_cert_chain(*chosen)
    connection = http.client.HTTPSConnection(BROKER, context=context, timeout=SECONDS)
    if body is not None:
        fields = {"Content-Type": "application/json", **fields}
    connection.request(method, path, None if body is None else json.dumps(body), fields)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status in {200, 201} and path.startswith("/v1/"):
        known.update(json.loads(text))
        text = b"given"
    return said(answer.status, answer.headers, text)


def tell(known: Known) -> str:
    """All that it has, for whoever reads along: what another container could have stolen."""
    parts = (os.environ["EGRESS_CLIENT_CERTIFICATE"], os.environ["EGRESS_CLIENT_KEY"])
    return json.dumps({**known, "stolen": "".join(open(part).read() for part in parts)})  # noqa: PTH123


def take(known: Known) -> str:
    """Use the certificate and key that were stolen."""
    with open(TAKEN, "w") as file:  # noqa: PTH123 - one import less
        file.write(known["stolen"])
    known["certificate"] = (TAKEN, TAKEN)
    return "taken"


def without(known: Known) -> str:
    """Use none from now on."""
    known["certificate"] = "none"
    return "dropped"


def own(known: Known) -> str:
    """Use the container's own again."""
    known.pop("certificate", None)
    return "own"


def wait(_known: Known, seconds: float) -> str:
    """Stay."""
    time.sleep(seconds)
    return "waited"


WAYS: dict[str, Callable[..., str]] = {
    way.__name__: way for way in (request, broker, tell, take, without, own, wait)
}


def filled(value: Any, known: Known) -> Any:
    """With what is known in the place of its names."""
    if isinstance(value, dict):
        return {name: filled(each, known) for name, each in value.items()}
    if isinstance(value, str):
        for name in ("token", "handle"):
            value = value.replace(f"${name}", str(known.get(name, "unknown")))
    return value


def main() -> None:
    """Do the steps, one after the other, whatever becomes of each."""
    known: Known = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    for label, way, *what in json.loads(sys.argv[1]):
        try:
            told = WAYS[way](known, *(filled(each, known) for each in what))
        except (OSError, http.client.HTTPException, ValueError) as error:
            told = f"failed {type(error).__name__}"
        sys.stdout.write(f"{label} {told}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
