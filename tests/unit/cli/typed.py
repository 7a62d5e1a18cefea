"""What a command line said, and what every failure must look like."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

Egress = Callable[..., Result]


def refused(result: Result, *words: str, code: int = 1) -> None:
    """Ended with `code`, said `words` on standard error with our name in front, and no traceback."""
    assert result.exit_code == code, (result.exit_code, result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.stderr.strip(), "no message"
    assert all(line.startswith("egress: ") for line in result.stderr.splitlines()), result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr
