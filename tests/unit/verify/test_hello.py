from __future__ import annotations

import pytest

from appliance.tls.clienthello import ClientHello, InvalidHello, peek
from appliance.verify.hello import SSL_3, TLS_1_0, client_hello, encrypted_hello, protocols, server_names


def test_what_is_built_is_read_as_meant() -> None:
    assert peek(client_hello()) == ClientHello(None, (), False, (0x0303,))
    assert peek(client_hello(server_names(b"a.net"))) == ClientHello(b"a.net", (), False, (0x0303,))
    assert peek(client_hello(server_names(b"a\0.net"), encrypted_hello())) == ClientHello(
        b"a\0.net", (), True, (0x0303,)
    )
    assert peek(client_hello(protocols(b"h2", b"x"))) == ClientHello(None, (b"h2", b"x"), False, (0x0303,))
    assert [peek(client_hello(version=v)).versions for v in (SSL_3, TLS_1_0)] == [(0x0300,), (0x0301,)]


@pytest.mark.parametrize(
    "names", [server_names(b"a.net", b"b.net"), server_names(b"a.net", kind=1), server_names(b"")]
)
def test_and_what_is_built_wrong_is_wrong(names: bytes) -> None:
    with pytest.raises(InvalidHello):
        peek(client_hello(names))


def test_the_name_cannot_stand_twice() -> None:
    with pytest.raises(InvalidHello):
        peek(client_hello(server_names(b"a.net"), server_names(b"a.net")))
