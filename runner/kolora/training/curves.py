"""The curve of a training while it is made, by Lightning's loggers: CSV, and TensorBoard where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.loggers import CSVLogger, TensorBoardLogger
from lightning_utilities.core.imports import RequirementCache

from kolora.training.config import TrainingConfig
from kolora.training.optimiser import learning_rate

TENSORBOARD = (RequirementCache("tensorboard"), RequirementCache("tensorboardX"))
"""Packages that can write TensorBoard's event files; either will do."""


class Curves:
    """Writes the losses in the order of the steps, each once.

    folder: gets ``metrics.csv``, of all steps, whose bytes repeat. events: gets TensorBoard's event files, of this
    run's steps; they hold times of day, so they lie where nothing is compared.
    """

    def __init__(self, config: TrainingConfig, folder: Path, *, events: Path | None = None) -> None:
        self._config = config
        self._table = CSVLogger(folder, name="", version="")
        self._events = (
            None if events is None or not any(TENSORBOARD) else TensorBoardLogger(events, name="", version="")
        )
        self._logged = 0

    def log(self, losses: Sequence[float], *, since: int) -> None:
        """Write the losses that are new; TensorBoard has those before step ``since`` from an earlier run."""
        for step in range(self._logged, len(losses)):
            values = {"loss": losses[step], "learning_rate": learning_rate(self._config, step)}
            # The table has all steps, also of an earlier run: it is written anew, so its bytes are those of one run.
            self._table.log_metrics(values, step + 1)
            if self._events is not None and step >= since:
                self._events.log_metrics(values, step + 1)
        self._logged = len(losses)

    def close(self) -> None:
        """Write what has not been written yet."""
        for logger in (self._table, self._events):
            if logger is not None:
                logger.finalize("success")
