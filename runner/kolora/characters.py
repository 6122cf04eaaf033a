"""Characters that act unseen: controls, marks that turn the direction of text, marks without width, halves of letters.

Texts of strangers hold them to move a terminal's cursor, to hide a name's ending, or to look like another text. They
are shown as what they are wherever kolora prints, and names and titles do not have them.
"""

from __future__ import annotations

import re
import unicodedata

_ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, formats, halves of pairs, and separators of lines and paragraphs."""
_JOINERS = "\u200c\u200d"
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,30}\U000e007f")
"""Tags spell a region's flag after a black one, as England's; anywhere else they are text that nobody sees."""


def find_acting(text: str, *, allowed: str = "") -> tuple[int, ...]:
    """Find the places in ``text`` of characters that act unseen, but for the ``allowed`` ones.

    Emoji are joined by U+200D, letters of Arabic and Indic scripts by that and U+200C: after those, joiners are text.
    """
    # Most texts have none, and isprintable() is quick to say so.
    if text.isprintable():
        return ()
    flags: set[int] = set()
    for match in _FLAG.finditer(text):
        flags |= set(range(*match.span()))
    return tuple(
        at
        for at, letter in enumerate(text)
        if unicodedata.category(letter) in _ACTING
        and letter not in allowed
        and at not in flags
        and not (letter in _JOINERS and at and _is_joined(text[at - 1]))
    )


def show(text: str, *, allowed: str = "\n\t") -> str:
    r"""Write characters that act unseen as ``\u202e``, which JSON reads as the same text."""
    acting = find_acting(text, allowed=allowed)
    if not acting:
        return text
    letters = list(text)
    for at in acting:
        letters[at] = _spelled(letters[at])
    return "".join(letters)


def replaced(text: str, *, allowed: str = "\n\r\t") -> str:
    """Put U+FFFD, the mark of what cannot be shown, for characters that act unseen; as long as the text was."""
    letters = list(text)
    for at in find_acting(text, allowed=allowed):
        letters[at] = "\ufffd"
    return "".join(letters)


def _spelled(letter: str) -> str:
    code = ord(letter)
    if code < 0x10000:
        return f"\\u{code:04x}"
    # JSON spells what lies beyond as a pair (RFC 8259, 7).
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _is_joined(before: str) -> bool:
    # Sk: tones of skin. Mn: the mark that asks for an emoji's picture, and the virama of Indic scripts.
    return unicodedata.category(before) in ("So", "Sk", "Mn", "Mc") or unicodedata.bidirectional(before) in ("R", "AL")
