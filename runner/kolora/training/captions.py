"""The text a training picture is shown with: its own caption, a trigger word, a template around both."""

from __future__ import annotations

import re


def compose(caption: str, *, trigger: str = "", template: str | None = None) -> str:
    """Give the text for a picture with ``caption``.

    template: ``{trigger}`` and ``{caption}`` stand for the word and the caption. Without one the word is put before
    captions that lack it, with the comma of the caption's script.
    """
    if template is not None:
        return re.sub(r"\{(trigger|caption)\}", lambda named: trigger if named[1] == "trigger" else caption, template)
    if not trigger or trigger in caption:
        return caption
    if not caption.strip():
        return trigger
    comma = "，" if re.search(r"[\u3400-\u9fff]", caption) else ", "
    return f"{trigger}{comma}{caption}"
