"""The process that filters: `python -m kolora.datasets.juicer REQUEST ANSWER`, both JSON files.

It ends as soon as its standard input does, so it never outlives the run that asked.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from kolora.datasets.juicer import guard

# Before data_juicer is imported, or it would have installed something by then.
guard.forbid()

from kolora.datasets.juicer import filters  # noqa: E402


def _leave_with_parent() -> None:
    # Not sys.stdin: its lock would be held while the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


def _answer(request: Path, answer: Path) -> None:
    asked = json.loads(request.read_text(encoding="utf-8"))
    try:
        answered: dict[str, object] = {"verdicts": filters.apply_filters(asked["rows"], asked["operators"])}
    except guard.PackageAbsent as error:
        answered = {"absent": str(error)}
    partial = answer.with_suffix(".partial")
    partial.write_text(json.dumps(answered, ensure_ascii=False), encoding="utf-8")
    partial.replace(answer)


if __name__ == "__main__":
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _answer(Path(sys.argv[1]), Path(sys.argv[2]))
