"""How far pictures of a submission are from those drawn here: pixel by pixel, and judged by the same judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from kolora.inputs import Scorer
from kolora.report.sections.scenes import Scene
from kolora.runfolder.layout import picture_path
from kolora.verification.expected import Expected
from kolora.verification.rebuild import Rebuilt
from kolora.verification.verdict import Tolerance, judge_picture

Facts = dict[str, Any]
"""What a comparison found, as plain JSON values."""
LOSSY_PSNR = 35.0
"""dB between two JPEGs of one picture at quality 80 or 95, written by two versions of an encoder."""
SAME: Facts = {"identical": True, "psnr": None, "worst_block": 0.0, "largest": 0, "changed": 0}


def judged_scenes(
    rebuilt: Rebuilt, expected: Expected, place: Path, differing: set[str], comparable: Mapping[str, bool]
) -> list[Facts]:
    """Compare the picture of each scene that can be compared, as verify.json tells it. place: their copies."""
    names = {scene.number: picture_path("render", scene.number) for scene in expected.report.scenes}
    scenes = [scene for scene in expected.report.scenes if comparable.get(names[scene.number])]
    compared = {}
    for scene in scenes:
        name = names[scene.number]
        found = compare_pictures(place / name, expected.files[name]) if name in differing else None
        compared[scene.number] = (found or SAME) | _same_scores(scene)
    others = [scene for scene in scenes if not compared[scene.number]["identical"]]
    for kind, scores in _scores(others, rebuilt, [place / names[scene.number] for scene in others]).items():
        for scene, score in zip(others, scores, strict=True):
            compared[scene.number][kind] = compared[scene.number][kind] | {"submitted": score}
    judged = []
    for number, facts in compared.items():
        verdict, reasons = judge_picture(facts, rebuilt.tolerance)
        told = {"number": number, "same_file": names[number] not in differing, "verdict": verdict}
        judged.append(told | {"reasons": [each.facts for each in reasons], **facts})
    return judged


def _same_scores(scene: Scene) -> Facts:
    """Give a picture's scores where both sides are one."""
    kinds = {"aesthetics": scene.aesthetics, "clip": scene.clip}
    return {kind: {"submitted": score, "again": score} for kind, score in kinds.items()}


def _scores(
    scenes: Sequence[Scene], rebuilt: Rebuilt, pictures: Sequence[Path]
) -> Mapping[str, Sequence[float | None]]:
    """Judge pictures that are other ones than those drawn here."""
    from kolora.scoring.judges import Aesthetics, Similarity, similarities

    def folder_of(scorer: Scorer | None) -> Path | None:
        return scorer.folder if scorer is not None and scenes else None

    scores: dict[str, Sequence[float | None]] = {"aesthetics": [None] * len(scenes), "clip": [None] * len(scenes)}
    aesthetics, clip = folder_of(rebuilt.resolved.inputs.aesthetics), folder_of(rebuilt.resolved.inputs.clip)
    if aesthetics is not None:
        scores["aesthetics"] = Aesthetics(aesthetics, device=rebuilt.device).grade(pictures)
    if clip is not None:
        judge = Similarity(clip, device=rebuilt.device)
        texts = judge.texts([scene.prompt or "" for scene in scenes])
        scores["clip"] = similarities(judge.pictures(pictures), texts)
    return scores


def compare_pictures(one: Path, other: Path) -> Facts | None:
    """Compare two pictures of one format by their pixels; None where they are of two sizes or cannot be read."""
    from kolora.scoring.difference import picture_difference

    try:
        # Never decoded where the sizes differ: a few kilobytes may unpack to gigabytes.
        with Image.open(one, formats=("PNG", "JPEG")) as left, Image.open(other) as right:
            if left.size != right.size or left.format != right.format:
                return None
        return picture_difference(one, other)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def is_near(facts: Mapping[str, Any], tolerance: Tolerance, *, lossy: bool = False) -> bool:
    """Tell whether two pictures differ by no more than rounding; lossy: two JPEGs."""
    if facts["identical"]:
        return True
    if lossy:
        return bool(facts["psnr"] >= LOSSY_PSNR)
    return bool(facts["psnr"] >= tolerance.psnr and facts["worst_block"] <= tolerance.worst_block)
