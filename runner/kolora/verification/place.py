"""The folder that a verification writes into: marked, and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

from kolora.errors import OutputUnwritable
from kolora.files import is_folder, real_path, writing
from kolora.folders import Folder, NotPlain
from kolora.ownership import Mark, OwnedFolder, mark_of, open_folder, refuse_others
from kolora.verification.page import PAGE
from kolora.verification.rebuild import AGAIN, RETRAINED, STATE

FACTS = "verify.json"
SUBMITTED, EXPECTED, DIFFERENCE = "submission", "expected", "difference"
"""Folders for what was copied of the submission, for what is made here beside the run, and for what differs."""
_WAY_OUT = "choose another folder with -o"


def claim_place(root: Path, *, submission: Path) -> OwnedFolder:
    """Take the folder, and make room in it for another verification; what was computed there is kept.

    Raises OutputUnwritable for a folder that is neither empty nor one of earlier verifications, or inside the
    submission, and where something else stands in place of what is kolora's.
    """
    if real_path(root).is_relative_to(real_path(submission)):
        raise OutputUnwritable(f"{root} lies in the submission, which stays as it is", hint=_WAY_OUT)
    with writing(root):
        if is_folder(root):
            folder = Folder.open(root)
            refuse_others(folder, mark_of(folder, _former), kind="verification", name="", way_out=_WAY_OUT)
        owned = OwnedFolder.claim(open_folder(root), kind="verification", name="", other_mark=_former, way_out=_WAY_OUT)
        owned.expect([FACTS, PAGE, STATE])
        for name in (SUBMITTED, EXPECTED, DIFFERENCE, AGAIN, RETRAINED):
            kind = owned.folder.kind(name)
            if kind not in (None, "folder"):
                raise NotPlain(root / name, kind, "folder")
        for name in (SUBMITTED, EXPECTED, DIFFERENCE):
            owned.folder.remove_tree(name)
            owned.folder.make(name)
    return owned


def _former(folder: Folder) -> Mark | None:
    """Know a folder of before there was a mark by its verdict."""
    try:
        facts = json.loads(folder.read(FACTS))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or "verdict" not in facts:
        return None
    return Mark("verification", "", frozenset(name for name in (FACTS, PAGE, STATE) if folder.is_file(name)))
