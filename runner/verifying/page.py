"""The side-by-side page of a verdict: submitted, drawn again, where they differ; one file, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageChops

from runner.artifacts import write_text
from runner.spec import Story

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
PREVIEW_WIDTH = 640
"""Pixels: three stand side by side, and 64 scenes still make a page that opens."""
LOUDER = 8
"""Differences are shown this many times as strong: those of rounding would not be seen."""

WORDS = {
    "en": {
        "identical": "identical",
        "equivalent": "equivalent",
        "different": "different",
        "note": "note",
        "submitted": "submitted",
        "again": "drawn again here",
        "difference": f"difference, {LOUDER} times as strong",
        "findings": "What was found",
        "nothing": "Nothing speaks against it.",
        "scenes": "Scenes",
        "environment": "How this machine differs from the lock's",
        "tolerance": "Equivalent means, a picture",
        "retrained": "Trained again",
        "same_lora": "the same LoRA, byte for byte",
        "other_lora": "another LoRA; the mean scores differ by",
        "changed": "pixels changed",
        "worst": "worst block",
        "aesthetics": "aesthetics",
        "clip": "CLIP",
    },
    "zh": {
        "identical": "完全一致",
        "equivalent": "等效",
        "different": "不一致",
        "note": "提示",
        "submitted": "提交的图",
        "again": "在此重新绘制",
        "difference": f"差异（放大 {LOUDER} 倍）",
        "findings": "检查结果",
        "nothing": "没有发现不符之处。",
        "scenes": "各格",
        "environment": "本机与锁文件的环境差异",
        "tolerance": "每张图“等效”的标准",
        "retrained": "重新训练",
        "same_lora": "LoRA 逐字节相同",
        "other_lora": "LoRA 不同；平均分相差",
        "changed": "个像素有变化",
        "worst": "最差块",
        "aesthetics": "美学分",
        "clip": "CLIP",
    },
}


def write_page(out: Path, facts: Mapping[str, Any], story: Story) -> None:
    """Write verify.html beside the pictures it shows."""
    for scene in facts["scenes"]:
        _show_difference(out, f"{scene['number']:02d}.png")
    places = ("submission/images", "again/images", "difference")
    shown = {scene["number"]: [f"{place}/{scene['number']:02d}.png" for place in places] for scene in facts["scenes"]}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("verify.html.j2").render(
        d=facts,
        w=WORDS[facts["language"]],
        shown=shown,
        scenes={scene.number: scene for scene in story.resolved_scenes()},
        previews={path: _preview(out / path) for paths in shown.values() for path in paths},
    )
    write_text(out / "verify.html", page)


def _preview(path: Path) -> dict[str, Any]:
    with Image.open(path, formats=("PNG",)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((PREVIEW_WIDTH, PREVIEW_WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85, subsampling=0)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"uri": uri, "width": picture.width, "height": picture.height}


def _show_difference(out: Path, name: str) -> None:
    with Image.open(out / "submission" / "images" / name, formats=("PNG",)) as one:
        submitted = one.convert("RGB")
    with Image.open(out / "again" / "images" / name) as other:
        difference = ImageChops.difference(submitted, other.convert("RGB"))
    (out / "difference").mkdir(exist_ok=True)
    difference.point(lambda value: min(255, value * LOUDER)).save(out / "difference" / name)
