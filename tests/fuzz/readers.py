"""Two independent readers of HTTP/1.1 (llhttp and h11) and ours, each telling what it makes of some bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import httptools

from appliance.http1.body import LAST_CHUNK, body_reader, encode_chunk
from appliance.http1.framing import BodyKind
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.limits import DEFAULT_LIMITS
from appliance.http1.refused import NeedMore, ProtocolFault, UpstreamInvalid
from appliance.http1.response import ResponseHead, parse_response_head
from appliance.http1.writer import relayed_framing, serialise_request, serialise_response_head

UPSTREAM = "ok.example"
Fields = tuple[tuple[bytes, bytes], ...]


@dataclass
class Read:
    """One message as a reader understood it. `start` is method and target, or the status."""

    start: tuple[bytes, ...] = ()
    fields: Fields = ()
    body: bytes = b""
    complete: bool = False
    rest: bytes = b""


@dataclass
class Relayed:
    """What we did: the bytes sent on (None when nothing was), the message as we read it, or the fault."""

    sent: bytes | None = None
    read: Read = field(default_factory=Read)
    fault: ProtocolFault | None = None


def fields_of(pairs: list[tuple[bytes, bytes]]) -> Fields:
    """Names in lower case, in order."""
    return tuple((name.lower(), value) for name, value in pairs)


def relay_request(data: bytes, size: int) -> Relayed:
    """Ours: read one request in pieces of `size` bytes and write it anew. Any other exception gets out."""
    buffer, result, at = bytearray(), NeedMore(), 0
    try:
        head: RequestHead | NeedMore = result
        while isinstance(head, NeedMore):
            if at >= len(data):
                return Relayed()
            buffer += data[at : at + size]
            at += size
            head = parse_request_head(buffer, DEFAULT_LIMITS, searched=head.searched)
        return _with_body(head, bytes(buffer[head.head_bytes :]) + data[at:], size)
    except ProtocolFault as fault:
        return Relayed(fault=fault)


def _with_body(head: RequestHead, data: bytes, size: int) -> Relayed:
    reader = body_reader(head.framing)
    pieces, at = [], 0
    while not reader.done and at < len(data):
        pieces += reader.feed(data[at : at + size])
        at += size
    body = b"".join(pieces)
    sent = serialise_request(head, UPSTREAM)
    if head.chunked:
        sent += b"".join(map(encode_chunk, pieces)) + (LAST_CHUNK if reader.done else b"")
    else:
        sent += body
    target = head.path if head.query is None else f"{head.path}?{head.query}"
    unread = reader.surplus if reader.done else getattr(reader, "_line", b"")  # of a line without its end
    read = Read((head.method.encode(), target.encode()), (), body, reader.done, unread + data[at:])
    return Relayed(sent, read)


def relay_response(data: bytes, size: int, method: str) -> Relayed:
    """Ours: read one final response that ends with the data, and write it anew for HTTP/1.1."""
    buffer, at, interim = bytearray(), 0, 0
    try:
        head: ResponseHead | NeedMore = NeedMore()
        while isinstance(head, NeedMore) or head.interim:
            if isinstance(head, ResponseHead):
                interim += 1
                del buffer[: head.head_bytes]
                head = NeedMore()
                if buffer:
                    head = parse_response_head(buffer, method, interim_seen=interim)
                    continue
            if at >= len(data):
                return Relayed()
            buffer += data[at : at + size]
            at += size
            head = parse_response_head(buffer, method, searched=head.searched, interim_seen=interim)
        framing = relayed_framing(head, to_http_11=True)
        reader = body_reader(head.framing, UpstreamInvalid)
        pieces = reader.feed(bytes(buffer[head.head_bytes :]) + data[at:])
        reader.end()
    except ProtocolFault as fault:
        return Relayed(fault=fault)
    sent = serialise_response_head(head, keep_alive=True, framing=framing)
    if framing.kind is BodyKind.CHUNKED:
        sent += b"".join(map(encode_chunk, pieces)) + LAST_CHUNK
    else:
        sent += b"".join(pieces)
    return Relayed(
        sent, Read((b"%d" % head.status,), (), b"".join(pieces), complete=True, rest=reader.surplus)
    )


def h11_request(data: bytes) -> Read | None:
    """None where h11 refuses."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    read = Read()
    try:
        server.receive_data(data)
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                read.start = (bytes(event.method), bytes(event.target))
                read.fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
            elif isinstance(event, h11.Data):
                read.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                read.complete = True
                read.rest = server.trailing_data[0]
                return read
            else:
                return read
    except h11.RemoteProtocolError:
        return None


def h11_response(data: bytes, method: str) -> Read | None:
    """None where h11 refuses."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "ok.example")]))
    client.send(h11.EndOfMessage())
    read = Read()
    try:
        client.receive_data(data)
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                read.start = (b"%d" % event.status_code,)
                read.fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
            elif isinstance(event, h11.Data):
                read.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                read.complete = True
                read.rest = client.trailing_data[0]
                return read
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return read
    except h11.RemoteProtocolError:
        return None


class _Llhttp:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.messages: list[Read] = []
        self.pairs: list[tuple[bytes, bytes]] = []
        self.url = b""

    def on_message_begin(self) -> None:
        self.messages.append(Read())
        self.pairs = []
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))

    def on_headers_complete(self) -> None:
        self.messages[-1].fields = fields_of(self.pairs)

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


def llhttp_requests(data: bytes) -> list[Read] | None:
    """Every request that llhttp finds in `data`; None where it refuses."""
    callbacks = _Llhttp()
    parser = httptools.HttpRequestParser(callbacks)
    complete = callbacks.on_headers_complete

    def with_start() -> None:
        complete()
        callbacks.messages[-1].start = (parser.get_method(), callbacks.url)

    callbacks.on_headers_complete = with_start  # type: ignore[method-assign]  # the parser is known only now
    parser = httptools.HttpRequestParser(callbacks)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return callbacks.messages
    except httptools.HttpParserError:
        return None
    return callbacks.messages


def llhttp_responses(data: bytes) -> list[Read] | None:
    """Every response that llhttp finds in `data`; None where it refuses."""
    callbacks = _Llhttp()
    parser = httptools.HttpResponseParser(callbacks)
    complete = callbacks.on_headers_complete

    def with_start() -> None:
        complete()
        callbacks.messages[-1].start = (b"%d" % parser.get_status_code(),)

    callbacks.on_headers_complete = with_start  # type: ignore[method-assign]  # the parser is known only now
    parser = httptools.HttpResponseParser(callbacks)
    try:
        parser.feed_data(data)
    except httptools.HttpParserError:
        return None
    return callbacks.messages
