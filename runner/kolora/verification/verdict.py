"""The verdict: identical, equivalent or different, by tolerances that were measured.

Measured on 2026-11-21 on two CPU cores: three scenes of the quickstart, 25 steps, drawn by pocket in float32 with two
threads, against the same drawn otherwise. The least PSNR in dB, and the largest root mean square error of a block:

one thread, float32        79.7    0.1
float16                    58.2    1.8
bfloat16                   42.7   13.3
bfloat16, 1 or 2 threads   52.1    3.1
one step of 25 fewer       53.9    2.9
LoRA at 0.99 of strength   50.4    5.0
guidance 5 % higher        47.2    6.0
LoRA at 0.9 of strength    25.2   83.3
one word of the prompt     16.0  147.7
another seed               15.6  143.2

What such drawing does to scores, the largest difference over the quickstart's eight scenes, drawn with a LoRA of
another training, judged by pocket's CLIP and its aesthetic predictor in float32; and what the judges' own arithmetic
does to the scores of one and the same picture. Judges always compute in float32:

                        aesthetics    CLIP
one thread, float32        0.00003   0.003
float16, scene 7 alone       0.004    0.02
bfloat16                   0.006     0.21
judges with one thread     0         0
judges in float16          0.002     0.02
judges in bfloat16         0.025     0.10

A whole quickstart drawn so and verified on an H200 in float16, torch 2.11: from 54.5 to 64.0 dB, blocks of 0.4 to 2.1,
CLIP at most 0.08 apart, aesthetics at most 0.0003, but 0.11 of one picture that lay on the edge of an earlier, steeper
predictor. That one moved by 0.65 between float32 and bfloat16: a bound on scores depends on the judge as well, and a
picture on such an edge may be called different.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kolora.verification.words import Finding

ORDER = ("identical", "equivalent", "different")


@dataclass(frozen=True)
class Tolerance:
    """What still counts as the same picture: at least this PSNR in dB, at most these errors and differences of scores.

    worst_block: of 0 to 255. aesthetics: points of 10. clip: points of 100.
    """

    psnr: float
    worst_block: float
    aesthetics: float
    clip: float


TOLERANCES = {
    "float32": Tolerance(psnr=60.0, worst_block=1.0, aesthetics=0.02, clip=0.05),
    "float16": Tolerance(psnr=50.0, worst_block=4.0, aesthetics=0.2, clip=0.25),
    "bfloat16": Tolerance(psnr=40.0, worst_block=16.0, aesthetics=0.25, clip=1.0),
}
"""By the number format here, never by what a submission says of its own: rounding is what may differ, nothing else."""


def tolerance_of(dtype: str | None) -> tuple[str, Tolerance]:
    """Choose by the number format of this machine; one that is not known counts as float16, a GPU's own."""
    known = dtype if dtype in TOLERANCES and dtype is not None else "float16"
    return known, TOLERANCES[known]


def judge_picture(facts: Mapping[str, Any], tolerance: Tolerance) -> tuple[str, list[Finding]]:
    """Give the verdict on one picture and what is against a better one."""
    if facts["identical"]:
        return "identical", []
    reasons = []
    if facts["psnr"] < tolerance.psnr:
        reasons.append(Finding("psnr", (str(facts["psnr"]), str(tolerance.psnr))))
    if facts["worst_block"] > tolerance.worst_block:
        reasons.append(Finding("worst_block", (str(facts["worst_block"]), str(tolerance.worst_block))))
    for kind in ("aesthetics", "clip"):
        apart = score_difference(facts[kind])
        if apart is not None and apart > getattr(tolerance, kind):
            reasons.append(Finding("scores_apart", (kind, f"{apart:.3f}", str(getattr(tolerance, kind)))))
    return ("different" if reasons else "equivalent"), reasons


def score_difference(scores: Mapping[str, float | None]) -> float | None:
    """Give how far a score of the submitted picture is from that of the one drawn again; None where not judged."""
    one, other = scores["submitted"], scores["again"]
    return None if one is None or other is None else abs(one - other)


def worst(verdicts: Iterable[str]) -> str:
    """Give the worst of several verdicts."""
    return max(verdicts, key=ORDER.index, default="identical")
