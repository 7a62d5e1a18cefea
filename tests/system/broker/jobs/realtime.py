"""A realtime session as OpenAI's clients open one, with what a container has: Python's own library."""

import base64
import json
import os
import socket
import ssl
import struct

HOST = "api.openai.com"


def read(stream, count):
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def frame(opcode, payload):
    mask = os.urandom(4)
    masked = bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked


found = {"frames": []}
context = ssl.create_default_context()
with (
    socket.create_connection((HOST, 443), timeout=20) as plain,
    context.wrap_socket(plain, server_hostname=HOST) as tls,
):
    key = base64.b64encode(os.urandom(16)).decode()
    asked = [
        "GET /v1/realtime?model=lab-1 HTTP/1.1",
        f"Host: {HOST}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Protocol: realtime",
        "Sec-WebSocket-Extensions: permessage-deflate",
        f"Authorization: Bearer {os.environ['KEY']}",
        "",
        "",
    ]
    tls.sendall("\r\n".join(asked).encode())
    stream = tls.makefile("rb")
    found["status"] = stream.readline().split()[1].decode()
    found["fields"] = {}
    while line := stream.readline().strip().decode():
        name, _, value = line.partition(": ")
        found["fields"][name.lower()] = value
    if found["status"] == "101":
        tls.sendall(frame(1, b"hello"))
        text = ""
        try:
            while "close" not in found:
                first, second = read(stream, 2)
                length = second & 127
                if length == 126:
                    (length,) = struct.unpack("!H", read(stream, 2))
                payload = read(stream, length)
                if first & 15 == 8:
                    found["close"] = struct.unpack("!H", payload[:2])[0]
                elif first & 15 < 8:
                    text += payload.decode()
                    if first & 128:
                        found["frames"].append(text)
                        tls.sendall(frame(8, struct.pack("!H", 1000)))
                else:
                    found["ping"] = payload.decode()
        except EOFError:
            found["cut"] = True
    else:
        found["said"] = stream.read(int(found["fields"].get("content-length", 0))).decode()
print(json.dumps(found))
