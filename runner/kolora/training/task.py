"""A training run that can be handed to another process: where its files are, and how that process takes part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kolora.memory.plan import MemoryPlan
from kolora.models.checkpoint import Checkpoint
from kolora.training.config import TrainingConfig
from kolora.training.examples import Examples, read_examples, with_prior
from kolora.training.loop import train
from kolora.training.process_group import ProcessGroup


@dataclass(frozen=True)
class TrainingTask:
    """What is trained on what. examples, prior: files of encoded pictures; state: folder of the saved state, of the
    step with the digest ``state_of``."""

    checkpoint: Path
    device: str
    dtype: str
    memory: MemoryPlan
    config: TrainingConfig
    examples: Path
    prior: Path | None
    state: Path
    state_of: str = ""

    def training_set(self) -> Examples:
        """Read the training set, with the pictures of its class mixed in where there are some."""
        examples = read_examples(self.examples)
        if self.prior is None or self.config.prior_weight is None:
            return examples
        return with_prior(examples, read_examples(self.prior), weight=self.config.prior_weight)

    def run_worker(self, group: ProcessGroup) -> None:
        """Train as one of the group's workers."""
        checkpoint = Checkpoint(self.checkpoint, device=self.device, dtype=self.dtype, memory=self.memory)
        train(
            checkpoint.training_unet(),
            checkpoint.schedule(),
            self.training_set(),
            self.config,
            state=self.state,
            state_of=self.state_of,
            tick=lambda *_: None,
            group=group,
            option=self.memory.option("train"),
            device=self.device,
        )
