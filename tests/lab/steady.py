"""A workload that asks for one page again and again, on a connection and with a look-up of its own each time.

Sent into a container as text (`python3 -c`); arguments: host, how often, seconds between. Prints one line of JSON:
`statuses` by count, and `milliseconds` of each request in order.
"""

import json
import socket
import sys
import time
from collections import Counter

HOST, COUNT, PAUSE = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
statuses: Counter[str] = Counter()
milliseconds = []
for _ in range(COUNT):
    began = time.monotonic()
    try:
        with socket.create_connection((HOST, 80), timeout=10) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            text = b""
            while piece := connection.recv(65536):
                text += piece
        statuses[text[9:12].decode()] += 1
    except OSError as error:
        statuses[type(error).__name__] += 1
    milliseconds.append(round((time.monotonic() - began) * 1000, 2))
    time.sleep(PAUSE)
sys.stdout.write(json.dumps({"statuses": statuses, "milliseconds": milliseconds}) + "\n")
