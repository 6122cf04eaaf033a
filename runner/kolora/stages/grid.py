"""Grid: all scenes in one picture."""

from __future__ import annotations

from kolora.spec.story import Frozen, ResolvedGrid
from kolora.stages import Facts, Job

VERSION = 1


class Part(Frozen):
    """What the grid may see."""

    grid: ResolvedGrid


def run(part: Part, job: Job) -> Facts:
    """Paste the scenes, in the story's order, row by row."""
    from kolora.rendering.pictures import paste_grid, png_bytes

    grid = part.grid
    pictures = [folder / "image.png" for folder in job.inputs.values()]
    pasted = paste_grid(
        pictures,
        columns=grid.columns,
        width=grid.width,
        height=grid.height,
        gap=grid.gap,
        background=grid.background,
    )
    (job.folder / "grid.png").write_bytes(png_bytes(pasted, {}))
    job.tick(1, 1)
    return {"width": grid.width, "height": grid.height, "columns": grid.columns, "rows": grid.rows}
