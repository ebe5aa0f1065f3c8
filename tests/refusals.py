"""The one sentence with which bad input is refused."""

from __future__ import annotations

import pytest

from slimedge.errors import InputError


def refusal_of(act, *given, **options) -> str:
    """Call what has to raise InputError, and give its message; it is one sentence."""
    with pytest.raises(InputError) as caught:
        act(*given, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert message.endswith(".")
    assert "Traceback" not in message
    return message
