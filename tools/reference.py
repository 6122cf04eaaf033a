"""Writes the reference of the story's keys into a page, between its markers: ``tools/reference.py PAGE``."""

import sys
from pathlib import Path

from kolora.spec.reference import insert_reference

for name in sys.argv[1:]:
    page = Path(name)
    page.write_text(insert_reference(page.read_text(encoding="utf-8")), encoding="utf-8")
