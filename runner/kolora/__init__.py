"""kolora: one story file in, one finished and checkable picture story out.

As a library:

    import kolora

    story = kolora.load_story("specs/quickstart.yaml")
    run = kolora.run(story, out="out/quickstart")
    print(run.scores.aesthetics_mean, run.pictures[0], run.report)
"""

import importlib
from typing import TYPE_CHECKING, Any

from kolora.errors import (
    DeviceUnusable,
    HubUnreachable,
    InputAbsent,
    KoloraError,
    OutputUnwritable,
    SchemaTooNew,
    Stopped,
    StoryInvalid,
    UsageError,
    VerifyDifferent,
)
from kolora.version import __version__

if TYPE_CHECKING:
    from kolora.planning import Decision
    from kolora.session import Run, Scores, load_story, plan, run
    from kolora.spec import Story
    from kolora.stories import LoadedStory
    from kolora.verification.verify import Verification, verify

# Python runs this file before kolora/__main__.py, which has to answer signals at once: what takes half a second to
# load is loaded when it is first used.
_DEFINED_IN = {
    "Decision": "kolora.planning",
    "LoadedStory": "kolora.stories",
    "Run": "kolora.session",
    "Scores": "kolora.session",
    "Story": "kolora.spec",
    "Verification": "kolora.verification.verify",
    "load_story": "kolora.session",
    "plan": "kolora.session",
    "run": "kolora.session",
    "verify": "kolora.verification.verify",
}

__all__ = [
    "Decision",
    "DeviceUnusable",
    "HubUnreachable",
    "InputAbsent",
    "KoloraError",
    "LoadedStory",
    "OutputUnwritable",
    "Run",
    "SchemaTooNew",
    "Scores",
    "Stopped",
    "Story",
    "StoryInvalid",
    "UsageError",
    "Verification",
    "VerifyDifferent",
    "__version__",
    "load_story",
    "plan",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public name's module when the name is first used."""
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_DEFINED_IN[name]), name)
