"""In a container with a certificate of its own: handles for an account, one after the other, from a given time on.

Arguments: account, how many, seconds since the epoch. Says on one line when it began, ended and how many it got.
"""

import http.client
import json
import os
import ssl
import sys
import time

ACCOUNT, COUNT, BEGIN = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
context = ssl.create_default_context()
context.load_cert_chain(os.environ["EGRESS_CLIENT_CERTIFICATE"], os.environ["EGRESS_CLIENT_KEY"])
connection = http.client.HTTPSConnection("broker.egress.internal", context=context, timeout=30)


def ask(path, body, **fields):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **fields})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    if answer.status != 201:
        sys.exit(f"{path}: {answer.status} {said}")
    return said


token = ask("/v1/session", {"ttl": 300})["token"]
late = time.time() - BEGIN
if late > 0:
    sys.exit(f"ready {late:.1f} s too late")
time.sleep(-late)
began, each = time.time(), []
for _ in range(COUNT):
    at = time.perf_counter()
    ask("/v1/handles", {"account": ACCOUNT}, Authorization=f"Bearer {token}")
    each.append(time.perf_counter() - at)
print(json.dumps({"began": began, "ended": time.time(), "milliseconds": [1000 * one for one in each]}))
