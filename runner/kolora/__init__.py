"""kolora: one story file in, one finished and checkable picture story out.

import kolora

story = kolora.load_story("specs/quickstart.yaml")
run = kolora.run(story, out="out/quickstart")
print(run.scores.aesthetics_mean, run.pictures[0], run.report)
"""

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
from kolora.planning import Decision
from kolora.session import Run, Scores, load_story, plan, run
from kolora.spec import Story
from kolora.stories import LoadedStory
from kolora.verification.verify import Verification, verify
from kolora.version import __version__

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
