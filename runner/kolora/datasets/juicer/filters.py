"""Data-Juicer's filters over a list of rows: what each one measured and decided, row by row.

`dj-process` shows a filter only the rows that are left. Here each sees all of them, so that the ledger is complete;
a filter decides on one row at a time, so what all of them keep is what `dj-process` keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_juicer.core.data import NestedDataset
from data_juicer.ops import load_ops
from data_juicer.ops.base_op import OP, Filter
from data_juicer.utils.constant import Fields, StatsKeys
from data_juicer.utils.lazy_loader import LazyLoader

from kolora.datasets.juicer import guard

guard.forbid_installing(LazyLoader)

OURS = {"auto_op_parallelism": False, "num_proc": None, "skip_op_error": False}
"""One process, and no error that silently costs a row."""

Row = Mapping[str, Any]


def apply_filters(rows: Sequence[Row], operators: Sequence[Mapping[str, Row]]) -> list[dict[str, dict[str, Any]]]:
    """Run filters, each `{name: parameters}`, over rows of `id`, `text`, `image` (a path) and `bytes`.

    Returns for each filter, by row id, all statistics known by then and whether it keeps the row.
    """
    if not rows:
        return [{} for _ in operators]
    dataset = NestedDataset.from_list([_sample(row) for row in rows])
    configs = []
    for operator in operators:
        configs += [{name: {**parameters, **OURS}} for name, parameters in operator.items()]
    verdicts = []
    for operator in load_ops(configs):
        if not isinstance(operator, Filter):
            raise TypeError(f"{operator._name} is no filter: it does not choose among rows one by one")
        # The filter's own run() does the same, then imports torch to empty a GPU's cache: three seconds for nothing.
        dataset = OP.run(operator, dataset).map(operator.compute_stats, batch_size=operator.batch_size)
        kept = set(dataset.filter(operator.process, batch_size=operator.batch_size)["id"])
        verdicts.append(
            {row["id"]: {"stats": row[Fields.stats], "kept": row["id"] in kept} for row in dataset.to_list()}
        )
    return verdicts


def _sample(row: Row) -> dict[str, Any]:
    """Put a row as Data-Juicer reads it; the picture at hand is a plain copy, a filter by size means the file given."""
    return {
        "id": row["id"],
        "text": row["text"],
        "images": [row["image"]],
        Fields.stats: {StatsKeys.image_sizes: [row["bytes"]]},
    }
