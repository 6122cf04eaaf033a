"""Draws the pictures pocket is trained on, on all cores, each a function of the seed and its number."""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.pool import AsyncResult, Pool

import numpy as np
from kolora.models.tokenizer import Tokenizer
from kolora.pocket.world import HELD_OUT, STYLES, caption, draw, sample_scene
from kolora.pocket.world.scene import sample_spoiling
from kolora.pocket.world.scenery import SIZE
from kolora.pocket.world.spoil import spoil
from PIL import Image

from tools.pocket.attributes import CLASSES, labels
from tools.pocket.teaching.reading import Lines, lines

CAPTIONS = ("zh", "zh", "en", "zh", "en")
"""Languages of a picture's captions: three in Chinese, two in English, each worded anew."""

PIXELS = SIZE * SIZE * 3
Faults = tuple[tuple[str, float], ...]
"""A picture's faults and their amounts."""
_shared: list[mmap.mmap] = []
"""The memory that pool workers write pictures to; set once in each worker."""
_given: list[np.ndarray] = []
"""The pictures that pool workers spoil; likewise."""


@dataclass(frozen=True)
class Drawing:
    """What one picture shows: its captions and their tokens, its labels by attribute, its faults' amounts, its hash."""

    captions: tuple[str, ...]
    tokens: tuple[np.ndarray, ...]
    """Each caption's token ids, unpadded, int32."""
    labels: tuple[int, ...]
    spoilt: Faults
    sha256: str


@dataclass(frozen=True)
class Drawn:
    """Pictures (N, 256, 256, 3) uint8 and what each shows."""

    pictures: np.ndarray
    drawings: Sequence[Drawing]

    def digest(self) -> str:
        """Return one hash of all pictures and captions, in order."""
        return hashlib.sha256("".join(d.sha256 for d in self.drawings).encode()).hexdigest()


class Studio:
    """Worker processes, on a share of the cores, that draw in the background into memory they share with this one."""

    def __init__(self, *, count: int, seed: int, spoilt_share: float, judged: bool, share: float) -> None:
        self._memory = mmap.mmap(-1, count * PIXELS)
        self._settings = (seed, spoilt_share, judged)
        context = multiprocessing.get_context("fork")
        self._pool: Pool = context.Pool(
            max(1, int(share * (os.cpu_count() or 1))), initializer=_shared.append, initargs=(self._memory,)
        )

    def start(self, first: int, last: int) -> AsyncResult[list[Drawing]]:
        """Begin to draw pictures first to last, the last one excluded."""
        tasks = [(number, *self._settings) for number in range(first, last)]
        return self._pool.starmap_async(_draw_one, tasks, chunksize=64)

    def lines(self, count: int) -> AsyncResult[list[Lines]]:
        """Begin to write ``count`` captions for the reading lesson."""
        chunks = [(first, min(first + 500, count), self._settings[0]) for first in range(0, count, 500)]
        return self._pool.starmap_async(lines, chunks, chunksize=1)

    def drawn(self, drawings: Sequence[Drawing]) -> Drawn:
        """Give the pictures that belong to the first ``len(drawings)`` numbers."""
        pictures = np.frombuffer(self._memory, dtype=np.uint8, count=len(drawings) * PIXELS)
        return Drawn(pictures.reshape(-1, SIZE, SIZE, 3), drawings)

    def close(self) -> None:
        """Let the workers go; the pictures stay."""
        self._pool.close()
        self._pool.join()


def spoil_anew(
    drawn: Drawn, rows: Sequence[int], *, each: int, seed: int, share: float
) -> tuple[np.ndarray, list[Faults]]:
    """Spoil the named pictures ``each`` times over, one after another: their pixels as in ``drawn``, and the faults.

    A grader learns more from one scene with several faults than from a new scene a fault, and drawing costs more.
    """
    shape = (len(rows) * each, SIZE, SIZE, 3)
    memory = mmap.mmap(-1, shape[0] * PIXELS)
    tasks = [(number, row, seed) for number, row in enumerate(np.repeat(rows, each).tolist())]
    context = multiprocessing.get_context("fork")
    workers = max(1, int(share * (os.cpu_count() or 1)))
    with context.Pool(workers, initializer=_share, initargs=(memory, drawn.pictures)) as pool:
        faults = pool.starmap(_spoil_one, tasks, chunksize=64)
    return np.frombuffer(memory, dtype=np.uint8).reshape(shape), faults


def _share(memory: mmap.mmap, pictures: np.ndarray) -> None:
    _shared.append(memory)
    _given.append(pictures)


def _spoil_one(number: int, row: int, seed: int) -> Faults:
    rng = random.Random(f"{seed} spoilt {number}")  # noqa: S311
    picture, faults = Image.fromarray(_given[-1][row]), sample_spoiling(rng)
    for fault, amount in faults:
        picture = spoil(picture, fault, amount, rng)
    _shared[-1][number * PIXELS : (number + 1) * PIXELS] = picture.tobytes()
    return faults


def _draw_one(number: int, seed: int, spoilt_share: float, judged: bool) -> Drawing:
    rng = random.Random(f"{seed} {'judge' if judged else 'base'} {number}")  # noqa: S311
    style = rng.choice(STYLES + HELD_OUT) if judged else None
    scene = sample_scene(rng, style=style, spoilt=rng.random() < spoilt_share)
    pixels = np.asarray(draw(scene, seed=rng.getrandbits(48)))
    offset = number * PIXELS
    _shared[-1][offset : offset + PIXELS] = pixels.tobytes()
    captions = tuple(caption(scene, rng, language) for language in CAPTIONS)
    sha256 = hashlib.sha256(pixels.tobytes() + "\n".join(captions).encode()).hexdigest()
    truth = labels(scene)
    tokens = tuple(_tokens(text) for text in captions)
    return Drawing(captions, tokens, tuple(truth[name] for name in CLASSES), scene.spoilt, sha256)


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer()


def _tokens(text: str) -> np.ndarray:
    tokens = _tokenizer()([text])
    text_ids: np.ndarray = tokens.input_ids[0, -int(tokens.attention_mask.sum()) :].numpy()
    return text_ids.astype(np.int32)
