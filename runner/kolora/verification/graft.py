"""Puts a submission's LoRA in the place of a training that is not done here, as the finished steps of a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kolora.datasets.metadata import write_metadata
from kolora.inputs import ResolvedInputs
from kolora.planning import plan_steps
from kolora.runfolder.records import RECORD_FORMAT, StepRecord, files_in
from kolora.runfolder.store import RunFolder
from kolora.spec.canonical import canonical
from kolora.stages import STAGES, fetch, train
from kolora.stages import filter as filter_stage
from kolora.stages.contract import StageFacts, Step, step_name
from kolora.version import __version__

DATA_STAGES = frozenset({"fetch", "filter", "cache_latents", "encode_prior", "prior"})
"""Whose results only training reads, and the scores that compare with the training pictures."""
TRAINED_STAGES = DATA_STAGES | {"train"}


def graft(folder: RunFolder, resolved: ResolvedInputs, *, lora: Path, stages: frozenset[str]) -> int:
    """Finish the story's steps of some stages without their work: empty data, and the LoRA that was handed in.

    Their digests are those of real steps, as they cover what goes in. Returns the LoRA's rank. Raises InputAbsent for a
    file that is no LoRA.
    """
    steps = plan_steps(resolved.story, resolved.inputs)
    digests = {step.key: step.digest for step in steps}
    rank = 0
    with folder.hold(resolved.original_story.name):
        for step in steps:
            if step.stage not in stages:
                continue
            partial, _ = folder.begin(step.name, step.digest)
            facts, found = _write(step, partial, lora)
            rank = found or rank
            needed = {step_name(*key): digests[key] for key in step.needs}
            folder.finish(_record(step, needed, facts, partial))
    return rank


def _write(step: Step, folder: Path, lora: Path) -> tuple[StageFacts | None, int]:
    """Fill a step's folder; returns its facts where a report reads them, and of the training the LoRA's rank."""
    if step.stage == "fetch":
        assert isinstance(step.config, fetch.Config)
        (folder / "images").mkdir()
        (folder / "images.jsonl").write_text("", encoding="utf-8")
        return fetch.Facts(source=step.config.source, images=0), 0
    if step.stage == "filter":
        (folder / "train").mkdir()
        write_metadata(folder / "train", [])
        (folder / "ledger.jsonl").write_text("", encoding="utf-8")
        return filter_stage.Facts(kept=0, dropped=0), 0
    if step.stage == "train":
        assert isinstance(step.config, train.Config)
        return _write_lora(step.config, folder, lora)
    return None, 0


def _write_lora(config: train.Config, folder: Path, lora: Path) -> tuple[StageFacts, int]:
    from kolora.models.lora import lora_bytes, read_lora

    weights = read_lora(lora)
    content = lora_bytes(weights, metadata=train.metadata_of(config))
    (folder / "lora.safetensors").write_bytes(content)
    parameters = sum(down.numel() + up.numel() for down, up in weights.pairs.values())
    rank = max(down.shape[0] for down, _ in weights.pairs.values())
    return train.Facts(steps=config.steps, rank=config.rank, alpha=config.alpha, parameters=parameters), rank


def _record(step: Step, needed: Mapping[str, str], facts: StageFacts | None, folder: Path) -> StepRecord:
    return StepRecord(
        format=RECORD_FORMAT,
        kolora=__version__,
        step=step.name,
        stage=step.stage,
        scene=step.scene,
        version=STAGES[step.stage].VERSION,
        digest=step.digest,
        config=canonical(step.config),
        inputs=dict(needed),
        facts={} if facts is None else facts.model_dump(mode="json", by_alias=True),
        files=files_in(folder),
    ).with_digest()
