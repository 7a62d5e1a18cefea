"""libnftables(3), the library that the nft program is a thin shell of, called in this process.

A run of the program costs 3 ms of processor time where the call costs 0.2; `docker run` waits for several. A
context's socket stays in the network namespace in which it was made, whatever its thread enters later.

The library may end the process: by exit(3) when it gets no socket or memory, by an assertion when the kernel
lists what it does not expect. So only what we made ourselves may be listed with it.
"""

from __future__ import annotations

import ctypes
import socket
import threading
from enum import IntFlag
from functools import lru_cache
from typing import Any

_SONAME = "libnftables.so.1"
_DEBUG_NETLINK = 0x8  # enum nft_debug_level in nftables/libnftables.h
_NETLINK_NETFILTER = 12
_one_at_a_time = threading.Lock()
"""The library promises nothing about threads."""


class Form(IntFlag):
    """How a listing is written: NFT_CTX_OUTPUT_* of nftables/libnftables.h."""

    PLAIN = 0
    STATELESS = 1 << 2
    JSON = 1 << 4
    NUMERIC = 0xF << 7  # protocols, priorities, symbols, times
    BYTECODE = 1 << 30  # ours: also the expressions that the kernel runs (`nft --debug=netlink`)


class Absent(Exception):
    """The library is not installed."""


class Refused(Exception):
    """The library or the kernel said no; `str()` is what it said."""


class Context:
    """A context, in the namespace of the thread that makes it; used by one thread only.

    One that is kept open spares a transaction that deletes something 8 to 15 ms: the kernel lets a socket be
    closed only when no packet can use any more what was deleted by it.
    """

    def __init__(self) -> None:
        """Raises `Absent`, `Refused`."""
        self._library = _library()
        with _one_at_a_time:
            _require_socket()
            self._context = self._library.nft_ctx_new(0)
            if not self._context:
                raise Refused("no context for libnftables; is memory short?")
            self._library.nft_ctx_buffer_output(self._context)
            self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str, form: Form = Form.PLAIN, *, check_only: bool = False) -> str:
        """What nft answers to `commands`, one transaction; blocks.

        Raises `Refused`; nothing is changed then.
        """
        if "\0" in commands:
            raise Refused("a text with an octet of zero, where the library would end it")
        library, context = self._library, self._context
        with _one_at_a_time:
            library.nft_ctx_set_dry_run(context, check_only)
            library.nft_ctx_output_set_flags(context, form & ~Form.BYTECODE)
            library.nft_ctx_output_set_debug(context, _DEBUG_NETLINK if form & Form.BYTECODE else 0)
            failed = library.nft_run_cmd_from_buffer(context, commands.encode())
            said = library.nft_ctx_get_output_buffer(context).decode("utf-8", "replace")
            complained = library.nft_ctx_get_error_buffer(context).decode("utf-8", "replace")
        if failed:
            raise Refused(" ".join(complained.split()) or "without a reason")
        return str(said)

    def close(self) -> None:
        """Give it back; nothing more can be asked of it."""
        with _one_at_a_time:
            self._library.nft_ctx_free(self._context)
        self._context = None


def run(commands: str, form: Form = Form.PLAIN, *, check_only: bool = False) -> str:
    """`Context.run` in the namespace that the calling thread is in now."""
    context = Context()
    try:
        return context.run(commands, form, check_only=check_only)
    finally:
        context.close()


def _require_socket() -> None:
    """The library makes one like it next and exits when it cannot. Raises `Refused`."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER).close()
    except OSError as error:
        raise Refused(f"no netlink socket: {error.strerror}") from error


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        library = ctypes.CDLL(_SONAME)
    except OSError as error:
        raise Absent(str(error)) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
    further: dict[str, list[Any]] = {
        "nft_ctx_free": [],
        "nft_ctx_buffer_output": [],
        "nft_ctx_buffer_error": [],
        "nft_ctx_get_output_buffer": [],
        "nft_ctx_get_error_buffer": [],
        "nft_ctx_set_dry_run": [ctypes.c_bool],
        "nft_ctx_output_set_flags": [ctypes.c_uint],
        "nft_ctx_output_set_debug": [ctypes.c_uint],
        "nft_run_cmd_from_buffer": [ctypes.c_char_p],
    }
    for name, arguments in further.items():
        getattr(library, name).argtypes = [ctypes.c_void_p, *arguments]
    return library
