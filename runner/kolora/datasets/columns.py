"""Which column of a data set holds the pictures and which the texts: as the story says, guessed where that is clear."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kolora.errors import StoryInvalid
from kolora.spec.sections.dataset import HubDataset

_PICTURE_COLUMNS = ("image", "file_name", "image_path", "img", "picture", "filename", "path", "file", "jpg", "png")
_TEXT_COLUMNS = ("text", "caption", "prompt", "description", "captions")


def picture_column(dataset: HubDataset, columns: Sequence[str], *, candidates: Collection[str], where: str) -> str:
    """Choose the column of pictures among those that could hold one; raises StoryInvalid where none is clear.

    candidates: the columns that could. ModelScope's tables write ``image:FILE`` for a column of paths.
    """
    # The story's own choice comes first, then names that data sets use; a lone column that could do needs no name.
    plain = {column.removesuffix(":FILE"): column for column in columns}
    for name in (dataset.image_column, *_PICTURE_COLUMNS):
        if plain.get(name) in candidates:
            return plain[name]
    if len(candidates) == 1:
        return next(iter(candidates))
    raise StoryInvalid(
        f"{where} has no column {dataset.image_column!r} of pictures; its columns are {_listing(columns)}",
        hint="set dataset.image_column to the one that holds the pictures",
    )


def text_column(dataset: HubDataset, columns: Sequence[str], *, where: str) -> str | None:
    """Choose the column of texts; None where ``caption`` stands for all. Raises StoryInvalid."""
    if dataset.text_column is not None:
        if dataset.text_column not in columns:
            raise StoryInvalid(
                f"{where} has no column {dataset.text_column!r}; its columns are {_listing(columns)}",
                hint="correct dataset.text_column, or set dataset.caption to one text for all",
            )
        return dataset.text_column
    if dataset.caption:
        return None
    return next((name for name in _TEXT_COLUMNS if name in columns), None)


def _listing(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) or "none"
