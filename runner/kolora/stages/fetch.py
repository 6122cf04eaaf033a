"""Fetch: the data set's files become plain pictures with captions, each file accounted for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from kolora.spec.story import Dataset
from kolora.stages import Facts, Job

VERSION = 2


class Part(BaseModel):
    """The data set, and by what its pictures are known: a folder's content digest, the version of the little world.

    A folder's place is here to open it (``folder``: that of a hub's data set in the cache) and the fewest pictures
    because the data set says so; neither changes what is fetched, so neither is dumped, and the digest does not cover
    them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Dataset
    language: Literal["zh", "en"]
    pictures: str
    folder: Path | None = Field(default=None, exclude=True)

    @field_serializer("dataset")
    def _without_place(self, dataset: Dataset) -> dict[str, Any]:
        return dataset.model_dump(mode="json", exclude={"path", "min_images"})


def run(part: Part, job: Job) -> Facts:
    """Write `images/NNNN.png` for every sound picture and one line of `images.jsonl` for every file."""
    from kolora.datasets.pictures import Rejection
    from kolora.datasets.source import open_dataset

    (job.folder / "images").mkdir()
    reasons: Counter[str] = Counter()
    total, raws = open_dataset(
        part.dataset, language=part.language, pictures=part.pictures, folder=part.folder, scratch=job.state
    )
    with (job.folder / "images.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for number, raw in enumerate(raws, start=1):
            job.tick(number - 1, total)
            name = f"{number:0{max(4, len(str(total)))}}"
            line: dict[str, Any] = {
                "id": name,
                "source": raw.source,
                "image": None,
                "text": raw.text,
                "width": None,
                "height": None,
                "bytes": raw.bytes,
                "sha256": raw.sha256,
            }
            if isinstance(raw.picture, Rejection):
                reasons[raw.picture.kind] += 1
                line |= {"verdict": "dropped", "kind": raw.picture.kind, "reason": raw.picture.reason, "notes": []}
            else:
                image = raw.picture.image
                line |= {"image": f"images/{name}.png", "width": image.width, "height": image.height}
                line |= {"verdict": "kept", "kind": None, "reason": None, "notes": list(raw.picture.notes)}
                # Read a few times and never shown: level 1 takes 0.25 s for two megapixels, the default 0.6 to 0.8.
                image.save(job.folder / line["image"], compress_level=1)
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    job.tick(total, total)
    dropped = reasons.total()
    return {"source": part.dataset.source, "images": total - dropped, "dropped": dropped, "reasons": dict(reasons)}
