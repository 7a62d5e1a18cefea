# Only GET and HEAD, only of the one host; mitmdump itself says a line for each.
from mitmproxy import http


def request(flow):
    if flow.request.pretty_host != "$host" or flow.request.method not in ("GET", "HEAD"):
        flow.response = http.Response.make(403)
