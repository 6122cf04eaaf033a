"""Characters that act unseen, and texts that hold them for a purpose."""

from __future__ import annotations

from collections.abc import Iterator

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
DIRECTIONS = ["\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]
SEPARATORS = ["\u2028", "\u2029"]
WIDTHLESS = ["\u00ad", "\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\u2064", "\ufeff", "\ufff9", "\U000e0001"]
TAGS = ["\U000e0041", "\U000e007f"]
HALVES = ["\ud800", "\udbff", "\udc00", "\udcff", "\udfff"]
WHOLE = [*CONTROLS, *DIRECTIONS, *SEPARATORS, *WIDTHLESS, *TAGS]
"""Those that text in UTF-8 can hold."""
ALL = [*WHOLE, *HALVES]

SENTENCES = (
    "\x1b[2J\x1b[1;1H",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.invalid\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x9b31mred",
    "\x9d0;title\x9c",
    "\x90q\x9c",
    "photo\u202egnp.exe",
    "a\u2066b\u2069",
    "one\x85two",
    "one\u2028two",
    "x\rerror: all is well",
    "x\x08\x08\x08y",
    "pay\u200bpal",
    "a\u200db",
    "\ufeffabc",
)
"""What attackers write: sequences for terminals, an ending that is not there, lines that nobody wrote."""

HARMLESS = (
    "小紫的歌",
    "👩\u200d🎨 画家",
    "👩🏽\u200d🚒",
    "🏳️\u200d🌈",
    "❤️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "می\u200cخواهم",
    "क्\u200dष",
    "naïve café",
    "한국어",
    "全角　空格",
    "a\u00a0b",
)
"""Texts that people write, joiners where a script or an emoji needs them included."""


def hidden(text: str, *, allowed: str = "\n") -> Iterator[str]:
    """Yield what acts unseen in a text, by the raw ranges above and by no rule of kolora's."""
    yield from (letter for letter in text if letter in ALL and letter not in allowed)
