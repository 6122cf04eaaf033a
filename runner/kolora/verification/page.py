"""The page of a verdict: what was found, and side by side submitted, drawn again and where they differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from kolora.report.pages import html_page
from kolora.report.pictures import Preview
from kolora.spec import Story
from kolora.verification.contest import contest_scope
from kolora.verification.words import DIFFERENCE_GAIN, DRIFT, WORDS, words_of_finding

PAGE = "verify.html"
PREVIEW_WIDTH = 640
"""Pixels: three stand side by side, and 64 scenes still make a page that opens."""
PLACES = ("submission", "again", "difference")


def render_page(out: Path, facts: Mapping[str, Any], story: Story) -> str:
    """Return verify.html, which lies beside the pictures it shows."""
    scenes = {scene["number"]: _paths(out, f"images/{scene['number']:02d}.png") for scene in facts["scenes"]}
    grid = _paths(out, "grid.png") if facts["grid"] else ()
    language = facts["language"]
    return html_page(
        "verify.html.j2",
        language,
        d=facts,
        w=WORDS[language],
        pictures_by_scene=scenes,
        grid=grid,
        scenes={scene.number: scene for scene in story.resolved_scenes()},
        previews={path: _preview(out / path) for path in chain(grid, *scenes.values())},
        finding_words=lambda finding: words_of_finding(finding, language),
        drift=lambda drift: DRIFT[language].format(*drift),
        **contest_scope(facts, language),
    )


def _paths(out: Path, name: str) -> tuple[str, ...]:
    """Name the submitted picture, the one drawn again, and what differs, which is drawn here."""
    paths = tuple(f"{place}/{name}" for place in PLACES)
    if not (out / paths[2]).is_file():
        _show_difference(*(out / path for path in paths))
    return paths


def _preview(path: Path) -> Preview:
    # Encoded anew: a stranger's file never gets into the page as it came.
    with Image.open(path, formats=("PNG",)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((PREVIEW_WIDTH, PREVIEW_WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85, subsampling=0)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Preview(uri, picture.width, picture.height)


def _show_difference(submitted: Path, again: Path, target: Path) -> None:
    with Image.open(submitted, formats=("PNG",)) as one, Image.open(again) as other:
        difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    target.parent.mkdir(parents=True, exist_ok=True)
    difference.point(lambda value: min(255, value * DIFFERENCE_GAIN)).save(target)
