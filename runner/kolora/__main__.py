"""``python -m kolora`` is ``kolora``, deaf to no signal from its first line on, and gone as soon as it is done."""

import os
import signal

# Before and after a run there is nothing to save: leave with the code that says "run the same command again".
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda *_: os._exit(75))

from kolora.cli import main  # noqa: E402
from kolora.execution.signals import leaving_at_once  # noqa: E402


def enter() -> None:
    """Run the command line and leave: what ``kolora`` calls."""
    code = 0
    try:
        with leaving_at_once():
            main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    # All is written. The threads and handlers of torch take seconds to end, which a stopped run may not have.
    os._exit(code)


if __name__ == "__main__":
    enter()
