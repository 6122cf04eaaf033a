"""Makes a run folder as a run leaves it, with pictures that Pillow draws, so that reports can be read and looked at."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

CHECKPOINT = "c0ffee" * 10 + "beef"

CHINESE_SCENES = (
    ("无聊的下午", "一个紫色短发的小女孩，穿着粉色连衣裙，无聊地坐在家里的沙发上，全身"),
    ("雨一直下", "一个紫色短发的小女孩，难过地站在下雨的阳台上，望着灰蒙蒙的城市，半身"),
    ("悄悄许愿", "一个紫色短发的小女孩，在星空下闭着眼睛许愿，全身"),
    ("从头练起", "一个紫色短发的小女孩，在练习室里拿着麦克风唱歌，全身"),
    ("上台之前", "一个紫色短发的小女孩，微笑着站在化妆间里，半身"),
    ("灯亮了", "一个紫色短发的小女孩，在舞台上拿着麦克风唱歌，全身"),
    ("大家都在听", "一个紫色短发的小女孩，在演唱会的人群中挥手，半身"),
    ("好梦", "一个紫色短发的小女孩，在卧室的床上睡着了，全身"),
)
ENGLISH_SCENES = (
    ("The village wakes", "a knight in a red cloak walks through a village at dawn, full body"),
    ("Into the mist", "the knight rides a white horse through a forest full of mist"),
    ("The old bridge", "the knight stops on an old stone bridge and listens"),
    ("A light below", "a cave lit by a fire, the shadow of a dragon on its wall"),
    ("Not a monster", "a small green dragon looks up, frightened, half body"),
    ("Bread", "the knight feeds the dragon a piece of bread"),
    ("The long way", "knight and dragon on a mountain road under blossom"),
    ("Home", "the dragon sleeps by the fire while the knight sings"),
)


def make_run_folder(
    out: Path,
    *,
    language: str = "zh",
    scenes: Sequence[tuple[str, str]] | None = None,
    size: tuple[int, int] = (256, 256),
    checkpoint: str = "pocket",
    negative_prompt: str = "丑陋，变形，嘈杂，模糊，低对比度",
    overrides: dict[int, dict[str, Any]] | None = None,
    rendered: int | None = None,
    failure: dict[str, Any] | None = None,
    status: str = "complete",
    kept: Sequence[str] = (),
    dropped: int = 3,
    scored: bool = True,
    noisy: bool = False,
    baseline: bool = True,
    samples: bool = False,
) -> Path:
    """Write a run folder. `rendered`: how many scenes are done; `failure`: the error, at its step; `kept`: stages."""
    if scenes is None:
        scenes = CHINESE_SCENES if language == "zh" else ENGLISH_SCENES
    rendered = len(scenes) if rendered is None else rendered
    finished = failure is None and rendered == len(scenes)
    render = {
        "width": size[0],
        "height": size[1],
        "steps": 25,
        "guidance_scale": 4.0,
        "lora_scale": 1.0,
        "scheduler": "ddim",
    }
    planned = [
        {"number": number, "title": title, "prompt": prompt, "negative_prompt": negative_prompt, "seed": 11 * number}
        | render
        | (overrides or {}).get(number, {})
        for number, (title, prompt) in enumerate(scenes, start=1)
    ]
    steps: list[dict[str, Any]] = []

    def add(step: str, seconds: float, facts: dict[str, Any] | None, files: dict[str, tuple[str, bytes]]) -> None:
        stage, _, scene = step.partition("-")
        digest = hashlib.sha256(step.encode()).hexdigest()
        action = "pending" if facts is None else "kept" if stage in kept else "ran"
        if failure and failure["step"] == step:
            action = "failed"
        reason = "nothing it depends on has changed" if action == "kept" else "no result from an earlier run"
        if stage == "train" and kept:
            reason = "lora.rank changed: 8 -> 16"
        why = [{"no result from an earlier run": "first"}.get(reason, "same")]
        if "lora.rank" in reason:
            why = ["changed_from", "lora.rank", "8", "16"]
        steps.append(
            {
                "step": step,
                "stage": stage,
                "scene": int(scene) if scene else None,
                "digest": digest,
                "action": action,
                "reason": reason,
                "why": [why],
                "seconds": seconds if action in ("ran", "kept") else None,
            }
        )
        if facts is None:
            return
        for path, content in files.values():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(content)
        record = {
            "format": 2,
            "kolora": "0.2.0",
            "step": step,
            "stage": stage,
            "scene": int(scene) if scene else None,
            "version": 1,
            "digest": digest,
            "config": {},
            "inputs": {},
            "facts": facts,
            "files": {
                name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                for name, (_, content) in files.items()
            },
            "started": "2026-11-21T01:02:03Z",
            "seconds": seconds,
            "peak_memory_bytes": {"cpu": 1_610_612_736, "gpu": None},
            "numerics": {"device": "cpu", "torch": None}
            if stage in ("fetch", "filter")
            else {
                "device": "cpu",
                "device_name": "Ordinary CPU @ 2.6 GHz",
                "dtype": "float32",
                "torch": "2.3.1",
                "deterministic": True,
                "threads": 2,
            },
        }
        write(out / f"records/{step}.json", record)

    (out / "records").mkdir(parents=True)
    total = 30 + dropped
    by_fetch = min(1, dropped)
    funnel = [
        {"name": "fetch", "in": total, "out": total - by_fetch},
        {"name": "image_shape_filter", "in": total - by_fetch, "out": 30},
        {"name": "image_aspect_ratio_filter", "in": 30, "out": 30},
    ]
    ledger = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _ledger(total, dropped)).encode()
    lines = [json.loads(line) for line in ledger.splitlines()]
    small = {
        name: (f"data/{name}", _small(number))
        for number, line in enumerate(lines)
        for name in (line["train"], line["thumbnail"])
        if name
    }
    order = ["fetch", "filter", "cache_latents", "train", "render", "score"]
    reached = order.index(failure["step"].split("-")[0]) if failure else len(order)
    add("fetch", 0.42, {"source": "pocket", "images": total - by_fetch, "dropped": by_fetch, "reasons": {}}, {})
    add(
        "filter",
        3.21,
        {"kept": 30, "dropped": dropped, "funnel": funnel} if reached > 1 else None,
        {"ledger.jsonl": ("data/ledger.jsonl", ledger)} | small,
    )
    if reached == 1:
        for path, content in {"data/ledger.jsonl": ledger, **dict(small.values())}.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(content)
        failure = (failure or {}) | {"facts": {"kept": 30, "dropped": dropped, "funnel": funnel}}
    add("cache_latents", 7.9, {"texts": 30, "images": 30} if reached > 2 else None, {})
    for scene in planned:
        name = f"encode_prompt-{scene['number']:02d}"
        add(name, 0.08, {"tokens": 41, "negative_tokens": 12, "token_limit": 256} if reached > 2 else None, {})
    loss = _loss(100)
    sampled = (50, 100) if samples else ()
    add(
        "train",
        19.6,
        {
            "steps": 100,
            "rank": 16,
            "alpha": 4.0,
            "parameters": 356352,
            "loss_first": 0.913,
            "loss_last": 0.4871,
            "samples_per_second": 5.134,
            "resumed_at": 0,
        }
        | (
            {"samples": [{"step": at, "scene": 1, "file": f"samples/{at:04}-01.png"} for at in sampled]}
            if sampled
            else {}
        )
        if reached > 3
        else None,
        {"history.json": ("lora/history.json", json.dumps(_history(loss)).encode())}
        | {
            f"samples/{at:04}-01.png": (f"lora/samples/{at:04}-01.png", _png(draw(at, (64, 64)), out)) for at in sampled
        },
    )
    pictures = []
    for scene in planned:
        number = scene["number"]
        name = f"render-{number:02d}"
        if number > rendered or reached <= 3:
            add(name, 0, None, {})
            continue
        picture = draw(number, (scene["width"], scene["height"]), noisy=noisy)
        pictures.append(picture)
        facts = {key: value for key, value in scene.items() if key not in ("number", "title")}
        content = _png(picture, out)
        add(name, 1.5, facts | {"checkpoint": CHECKPOINT}, {"image.png": (f"images/{number:02d}.png", content)})
    for scene in planned if baseline and reached > 3 else []:
        number = scene["number"]
        content = _png(draw(number + 100, (48, 48)), out)
        facts = scene | {"lora_scale": 0.0, "checkpoint": CHECKPOINT}
        del facts["number"], facts["title"]
        if number <= rendered:
            add(f"baseline-{number:02d}", 1.4, facts, {"image.png": (f"images/baseline/{number:02d}.png", content)})
    columns = min(4, len(scenes))
    rows = math.ceil(len(scenes) / columns)
    facts = {"width": columns * size[0], "height": rows * size[1], "columns": columns, "rows": rows}
    content = _png(_grid(pictures, columns, rows, size), out) if finished else b""
    add("grid", 0.2, facts if finished else None, {"grid.png": ("grid.png", content)})
    add("score", 2.2, _scores(len(scenes), scored=scored) if finished else None, {})
    write(
        out / "records/run.json",
        {
            "format": 2,
            "kolora": "0.2.0",
            "name": "fixture",
            "title": "小紫的歌" if language == "zh" else "The knight who brought bread",
            "language": language,
            "status": status,
            "started": "2026-11-21T01:02:03+00:00",
            "seconds": 64.2,
            "checkpoint": {"name": checkpoint, "digest": CHECKPOINT},
            "story": {
                "kolora": 1,
                "name": "fixture",
                "dataset": {"source": "pocket", "style": "ink", "count": 40},
                "filters": [{"image_shape_filter": {"min_width": 256}}],
                "lora": {"rank": 8, "steps": 100, "dropout": 0.0},
                "render": render,
                "scenes": [{"title": title, "prompt": prompt, "steps": None} for title, prompt in scenes],
                "report": {"language": None, "title": None},
            },
            "scenes": planned,
            "error": failure,
            "steps": steps,
            "environment": {
                "python": "3.11.2",
                "platform": "Linux-6.1-x86_64",
                "cpu": "Ordinary CPU @ 2.6 GHz",
                "cores": 2,
                "gpu": None,
                "image": "sha256:0123abcd",
                "service": {"name": "AWS Batch", "run": "a1b2c3", "attempt": 2, "index": 3, "count": 10},
                "packages": {"torch": "2.3.1", "diffsynth": "1.1.9", "pillow": "13.0.0"},
            },
        },
    )
    (out / "story.yaml").write_text("kolora: 1\nname: fixture\nscenes:\n  - prompt: <b>&</b>\n", encoding="utf-8")
    return out


def write(path: Path, value: object) -> None:
    """Write a value as JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def edit(path: Path, **changes: Any) -> None:
    """Change top-level keys of a JSON file."""
    write(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def replace_file(out: Path, step: str, name: str, path: str, content: bytes) -> None:
    """Write other bytes over a published file, as if its step had made them: its record says so."""
    (out / path).write_bytes(content)
    record = json.loads((out / f"records/{step}.json").read_text(encoding="utf-8"))
    record["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    write(out / f"records/{step}.json", record)


def draw(number: int, size: tuple[int, int], *, noisy: bool = False) -> Image.Image:
    """Draw a hill, a sun and a little figure; or noise, which no compression makes small."""
    if noisy:
        return Image.frombytes("RGB", size, random.Random(number).randbytes(3 * size[0] * size[1]))
    dice = random.Random(number)
    width, height = size
    hue = dice.randrange(360)
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    sky = Image.new("RGB", size, f"hsl({hue}, 45%, 82%)")
    picture = Image.blend(sky, Image.composite(sky, Image.new("RGB", size, f"hsl({hue + 40}, 60%, 60%)"),
                                               Image.linear_gradient("L").resize(size)), 0.7)  # fmt: skip
    pen = ImageDraw.Draw(picture)
    x, y, unit = dice.uniform(0.2, 0.8) * width, dice.uniform(0.15, 0.35) * height, min(size) / 10
    pen.ellipse((x - unit, y - unit, x + unit, y + unit), fill=f"hsl({hue + 180}, 80%, 70%)")
    hill = [
        (step * width / 40, height * (0.72 + 0.07 * math.sin(step / 5 + number) + 0.04 * math.sin(step / 2)))
        for step in range(41)
    ]
    pen.polygon([*hill, (width, height), (0, height)], fill=f"hsl({hue + 90}, 35%, 38%)")
    x, y = dice.uniform(0.3, 0.7) * width, height * 0.7
    pen.polygon([(x, y - 2 * unit), (x - unit, y + unit), (x + unit, y + unit)], fill=f"hsl({hue + 300}, 60%, 55%)")
    pen.ellipse((x - unit * 0.6, y - 3 * unit, x + unit * 0.6, y - 1.8 * unit), fill=f"hsl({hue + 20}, 60%, 80%)")
    return picture


def _grid(pictures: Sequence[Image.Image], columns: int, rows: int, size: tuple[int, int]) -> Image.Image:
    grid = Image.new("RGB", (columns * size[0], rows * size[1]), "white")
    for index, picture in enumerate(pictures):
        grid.paste(picture.resize(size), (index % columns * size[0], index // columns * size[1]))
    return grid


def _png(picture: Image.Image, out: Path) -> bytes:
    path = out / "drawn.png"
    picture.save(path, compress_level=1)
    content = path.read_bytes()
    path.unlink()
    return content


def _sample(step: int) -> str:
    return f"samples/{step:04}-01.png"


def _small(number: int) -> bytes:
    buffer = io.BytesIO()
    draw(number, (24, 24)).save(buffer, "JPEG")
    return buffer.getvalue()


def _ledger(total: int, dropped: int) -> list[dict[str, Any]]:
    lines = []
    for number in range(1, total + 1):
        by = None if number > dropped else "fetch" if number == 1 else "image_shape_filter"
        kind = "truncated file" if by == "fetch" else None
        reason = {None: None, "fetch": "truncated file", "image_shape_filter": "image_width 200; min_width 256"}[by]
        lines.append(
            {
                "id": f"{number:04d}",
                "source": f"素材/picture-{number}.png",
                "text": "水墨画",
                "verdict": "dropped" if by else "kept",
                "by": by,
                "kind": kind,
                "reason": reason,
                "thumbnail": f"dropped/{number:04d}.jpg" if by == "image_shape_filter" else None,
                "train": None if by else f"train/{number - dropped:02d}.jpg",
                "operators": [],
            }
        )
    return lines


def _loss(steps: int) -> list[float]:
    dice = random.Random(0)
    return [0.4 + 0.5 * math.exp(-step / 40) + dice.uniform(-0.2, 0.2) for step in range(steps)]


def _history(loss: Sequence[float]) -> dict[str, Any]:
    return {"step": list(range(1, len(loss) + 1)), "loss": list(loss), "learning_rate": [0.002] * len(loss)}


def _scores(scenes: int, *, scored: bool) -> dict[str, Any]:
    return {
        "scenes": [
            {
                "number": number,
                "aesthetics": 6.0 + number / 100 if scored else None,
                "clip": 27.0 + number / 10 if scored else None,
            }
            for number in range(1, scenes + 1)
        ],
        "aesthetics_mean": 6.134 if scored else None,
        "clip_mean": 27.94 if scored else None,
        "threshold": 6.0,
        "valid": True if scored else None,
        "training": {"clip": [25.0], "clip_mean": 25.31 if scored else None},
    } | (
        {
            "coherence": {
                "matrix": [[100.0 if x == y else 60.0 + x + y for x in range(scenes)] for y in range(scenes)],
                "scenes": [71.0 + number for number in range(scenes)] if scenes > 1 else [None],
                "mean": 77.7 if scenes > 1 else None,
                "baseline_mean": 55.5,
                "training_mean": 66.6,
            },
            "style": {"scenes": [31.0 + number for number in range(scenes)], "mean": 44.4, "baseline_mean": 33.3},
        }
        if scored
        else {}
    )
