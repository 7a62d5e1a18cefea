"""A workload that asks its proxy again and again: for what it may have, and for what nobody may let it have.

Sent into a container as text (`python3 -c`), behind the runner image's entry point; arguments: host, seconds,
threads (each asks a few times a second, so that many leave the machine time to answer). Lines on standard output,
times in seconds since the epoch: `ok START END` or `no START END` for each GET, `refused-by LAYER START END` for
each POST (LAYER is `gateway`, `squid` or `nobody`), `GRANTED START END` for one that was answered with success.
"""

import os
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

HOST, SECONDS, THREADS = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
END = time.time() + SECONDS
SITE = f"https://{HOST}"
WITHIN = 3.0
PAUSE = 0.5
OPENER = urllib.request.build_opener(
    urllib.request.ProxyHandler({"https": os.environ["HTTPS_PROXY"], "http": os.environ["HTTP_PROXY"]}),
    urllib.request.HTTPSHandler(context=ssl.create_default_context()),
)
lock = threading.Lock()


def say(*words: object) -> None:
    with lock:
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()


def read() -> bool:
    """One GET of what every layer allows."""
    try:
        with OPENER.open(SITE + "/", timeout=WITHIN) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def write() -> str:
    """One POST that no layer allows: who refused it."""
    request = urllib.request.Request(SITE + "/canary/loop", data=b"x", method="POST")
    try:
        with OPENER.open(request, timeout=WITHIN):
            return "GRANTED"
    except urllib.error.HTTPError as refusal:
        return "squid" if b"squid-fallback" in refusal.read() else "gateway"
    except OSError:
        return "nobody"


def loop() -> None:
    while time.time() < END:
        start = time.time()
        say("ok" if read() else "no", start, time.time())
        start = time.time()
        layer = write()
        say(*(("GRANTED",) if layer == "GRANTED" else ("refused-by", layer)), start, time.time())
        time.sleep(PAUSE)


for _ in range(THREADS):
    threading.Thread(target=loop).start()
