"""What a module of ``kolora.report.sections`` has: a section of the report, from the run folder to the page.

To add one: the module, ``templates/report/NAME.html.j2`` and ``NAME.md.j2``, and its line in ``kolora.report.data``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kolora.report.values import ReportModel, Words
from kolora.runfolder.reader import RunReader

if TYPE_CHECKING:
    from kolora.report.data import ReportData


@dataclass(frozen=True)
class PictureGroup:
    """Pictures that a page shows alike. paths: relative to the run folder; None where there is none to show.

    width: in pixels, sharp where the page shows them. share: of the page's room for pictures, in hundredths; what a
    group leaves goes to nobody, so that a page stays predictable.
    """

    width: int
    share: int
    paths: Sequence[str | None]


class Section(Protocol):
    """A section, as its module gives it; the order of sections is that of ``kolora.report.data.SECTIONS``."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """Name of the section: of its templates, and of its place on the page."""

    @property
    def IS_LISTED(self) -> bool:  # noqa: N802
        """Whether the table of contents leads to it, by the word of its name."""

    @property
    def WORDS(self) -> Words:  # noqa: N802
        """The words that are this section's own; templates find those of all sections in ``w``."""

    @property
    def Fields(self) -> type[ReportModel]:  # noqa: N802
        """The keys of report.json that are this section's; ReportData inherits from it."""

    def gather(self, reader: RunReader, /) -> ReportModel:
        """Read the section's fields from a run folder."""

    def scope(self, report: ReportData, words: Mapping[str, str], /) -> Mapping[str, Any]:
        """Return what the section's templates find in ``s`` beside the report itself, ``d``.

        A section whose ``is_shown`` is False has no place on the page.
        """

    def picture_groups(self, report: ReportData, /) -> Sequence[PictureGroup]:
        """List the pictures that the section shows."""


def no_scope(_report: ReportData, _words: Mapping[str, str]) -> Mapping[str, Any]:
    """Return nothing: the section's templates need only the report."""
    return {}


def no_picture_groups(_report: ReportData) -> Sequence[PictureGroup]:
    """Return nothing: the section shows no pictures."""
    return ()
