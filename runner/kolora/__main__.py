"""``python -m kolora`` is ``kolora``, deaf to no signal from its first line on, and gone as soon as it is done."""

import os
import signal

# Before and after a run there is nothing to save: leave with the code that says "run the same command again".
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda *_: os._exit(75))

from kolora.cli import main  # noqa: E402

try:
    main()
except SystemExit as left:
    # All is written. The threads and handlers of torch take seconds to end, which a stopped run may not have.
    os._exit(left.code if isinstance(left.code, int) else 1)
