"""Characters that act unseen: controls, marks that turn the direction of text, marks without width, halves of letters.

Texts of strangers hold them to move a terminal's cursor, to hide a name's ending, or to look like another text. They
are shown as what they are wherever kolora prints, and names and titles do not have them.
"""

from __future__ import annotations

import re
import unicodedata

_ACTING = re.compile(
    # Controls, with DEL, ESC and those of the upper half; halves of letters, which no UTF-8 can write.
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff"
    # Separators of lines and paragraphs, marks of direction, joiners, spaces without width.
    "\u2028\u2029\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u00ad\u180e\ufff9-\ufffb"
    # The rest of Unicode's category Cf: signs before numbers, notation of music and shorthand, tags.
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_JOINERS = "\u200c\u200d"
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,30}\U000e007f")
"""Tags spell a region's flag after a black one, as England's; anywhere else they are text that nobody sees."""


def find_acting(text: str, *, allowed: str = "") -> tuple[int, ...]:
    """Find the places in ``text`` of characters that act unseen, but for the ``allowed`` ones.

    Emoji are joined by U+200D, letters of Arabic and Indic scripts by that and U+200C: after those, joiners are text.
    """
    found = [match.start() for match in _ACTING.finditer(text) if match[0] not in allowed]
    if not found:
        return ()
    flags: set[int] = set()
    for match in _FLAG.finditer(text):
        flags |= set(range(*match.span()))
    return tuple(at for at in found if at not in flags and not _joins(text, at))


def show(text: str, *, allowed: str = "\n\t") -> str:
    r"""Write characters that act unseen as ``\u202e``, which JSON reads as the same text."""
    letters = list(text) if (acting := find_acting(text, allowed=allowed)) else []
    for at in acting:
        letters[at] = _spelled(letters[at])
    return "".join(letters) if acting else text


def replaced(text: str, *, allowed: str = "\n\r\t\f") -> str:
    """Put U+FFFD, the mark of what cannot be shown, for characters that act unseen; the text stays as long."""
    letters = list(text) if (acting := find_acting(text, allowed=allowed)) else []
    for at in acting:
        letters[at] = "\ufffd"
    return "".join(letters) if acting else text


def _spelled(letter: str) -> str:
    code = ord(letter)
    if code < 0x10000:
        return f"\\u{code:04x}"
    # JSON spells what lies beyond as a pair (RFC 8259, 7).
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _joins(text: str, at: int) -> bool:
    if text[at] not in _JOINERS or not at:
        return False
    before = text[at - 1]
    # Sk: tones of skin. Mn: the mark that asks for an emoji's picture, and the virama of Indic scripts.
    return unicodedata.category(before) in ("So", "Sk", "Mn", "Mc") or unicodedata.bidirectional(before) in ("R", "AL")
