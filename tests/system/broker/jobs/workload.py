"""A workload with a certificate of its own: sessions, handles, `/execute`, and a token in a provider's slot."""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request

CHAT = "https://api.openai.com/v1/chat/completions"
ASKED = json.dumps({"model": "lab-1", "messages": [{"role": "user", "content": "hello"}]})


def broker(*, certificate=True):
    context = ssl.create_default_context()
    if certificate:
        context.load_cert_chain(os.environ["EGRESS_CLIENT_CERTIFICATE"], os.environ["EGRESS_CLIENT_KEY"])
    return http.client.HTTPSConnection("broker.egress.internal", context=context, timeout=60)


def ask(method, path, body=None, token=None, connection=None):
    fields = {} if token is None else {"Authorization": f"Bearer {token}"}
    if body is not None:
        fields["Content-Type"] = "application/json"
    connection = connection or broker()
    connection.request(method, path, None if body is None else json.dumps(body), fields)
    answer = connection.getresponse()
    text = answer.read().decode()
    return {"status": answer.status, "said": json.loads(text) if text else None}


def chat(key):
    request = urllib.request.Request(CHAT, ASKED.encode(), {"Content-Type": "application/json"})
    request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {"status": answer.status, "said": json.loads(answer.read())}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "said": json.loads(error.read())}


def without():
    try:
        return ask("POST", "/v1/session", {"ttl": 60}, connection=broker(certificate=False))
    except (OSError, http.client.HTTPException) as error:
        return {"error": type(error).__name__}


def main():
    shared = broker()
    found = {"without": without()}
    opened = ask("POST", "/v1/session", {"ttl": 60}, connection=shared)
    token = opened["said"].pop("token")
    found["session"] = opened
    wish = {
        "account": "chat", "url": CHAT, "method": "POST", "headers": {"Content-Type": "application/json"},
        "body": ASKED,
    }  # fmt: skip
    found["execute"] = ask("POST", "/execute", wish, token, shared)
    found["again"] = ask("POST", "/execute", wish, token, shared)
    found["proxied"] = ask("POST", "/execute", wish | {"url": "//api.openai.com/v1/models"}, token, shared)
    given = ask("POST", "/v1/handles", {"account": "chat"}, token, shared)
    found["handle"] = chat(given["said"]["handle"])
    slot = ask("POST", "/v1/session", {"ttl": 60, "account": "chat", "shape": "sk-"}, None, shared)
    found["slot"] = chat(slot["said"]["token"])
    found["done"] = ask("DELETE", "/v1/handles", None, token, shared)
    found["dead"] = chat(given["said"]["handle"])
    found["closed"] = ask("DELETE", "/v1/session", None, token, shared)
    found["over"] = ask("POST", "/execute", wish, token, shared)
    print(json.dumps(found))


main()
