"""Messages of `appliance.ipc` in a reactor: the framing for both ends."""

from __future__ import annotations

import json

from twisted.protocols.basic import LineOnlyReceiver

from appliance.ipc import MAX_LINE, Message


class JsonLines(LineOnlyReceiver):
    """Framing for both ends. Subclasses implement `message_received`."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def lineReceived(self, line: bytes) -> None:
        """Parse one line; close on anything that is not a JSON object."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.close()
            return
        self.message_received(message)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Close: no message of ours is that long."""
        del line
        self.close()

    def close(self) -> None:
        """End the connection after what was sent."""
        if self.transport is not None:
            self.transport.loseConnection()

    def message_received(self, message: Message) -> None:
        """Act on one message."""
        raise NotImplementedError

    def send(self, message: Message) -> None:
        """Write one message."""
        if self.transport is not None:
            self.transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
