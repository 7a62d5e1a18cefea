"""A container whose call is under way when the broker is killed: what it gets of that call, of others, and afterwards."""

import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request

PROVIDER = "https://reflector.example.com/outlives/"


def say(word):
    print(word, flush=True)


def given():
    """A handle, by a certificate of our own."""
    context = ssl.create_default_context()
    context.load_cert_chain(os.environ["EGRESS_CLIENT_CERTIFICATE"], os.environ["EGRESS_CLIENT_KEY"])
    connection = http.client.HTTPSConnection("broker.egress.internal", context=context, timeout=30)
    fields = {"Content-Type": "application/json"}
    for path, wish, member in (
        ("/v1/session", {"ttl": 120}, "token"),
        ("/v1/handles", {"account": "mirror"}, "handle"),
    ):
        connection.request("POST", path, json.dumps(wish), fields)
        answer = json.loads(connection.getresponse().read())
        fields["Authorization"] = f"Bearer {answer[member]}"
    return answer["handle"]


def call(path, key=None):
    request = urllib.request.Request(PROVIDER + path)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if path == "slow":
                answer.read(100)
                say("under way")
            return {"status": answer.status, "said": answer.read().decode()[:200]}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "reason": json.loads(error.read()).get("reason")}
    except (OSError, http.client.HTTPException) as error:
        return {"cut": type(error).__name__}


def main():
    handle = given()
    found = {"before": call("plain", handle)}
    found["slow"] = call("slow", handle)
    say("ended")
    time.sleep(2)
    found["meanwhile"] = [call("plain"), call("plain", handle), call("plain", "agentsecrets://mirror")]
    say("refused")
    deadline = time.monotonic() + 90
    while call("plain").get("status") != 200 and time.monotonic() < deadline:
        time.sleep(0.5)
    found["dead"] = call("plain", handle)
    found["after"] = call("plain")
    say(json.dumps(found))


sys.exit(main())
