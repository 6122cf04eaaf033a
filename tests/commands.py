"""The command line, called in this process."""

from __future__ import annotations

import pytest
from kolora.cli import main


def left(*arguments: object) -> int:
    """Run ``kolora`` with these arguments; returns the exit code it left with."""
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code
