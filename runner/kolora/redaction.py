"""Secrets, kept out of what is printed and what is recorded.

A secret is the value of a variable whose name says so, who is named before the ``@`` of an address, what headers and
query parameters of that kind hold, and whatever has the shape of a hub's token. ``redact`` covers all of these in what
is printed; ``redact_values`` does so in what is recorded; ``find_secret`` finds those that are certain, for texts
that may not be changed and so are refused. The environment is read each time: it may change while a program runs.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, unquote

MASK = "***"

_SECRET_WORDS = frozenset(
    {"TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "PAT"}
    | {"CREDENTIAL", "CREDENTIALS", "COOKIE", "COOKIES", "AUTHORIZATION", "BEARER"}
)
"""Words of a variable's name, between its underscores, that say that its value is one."""
_SECRET_KEY = re.compile(r"(?:^KOLORA_.*|(?:API|ACCESS|SECRET|PRIVATE|AUTH|SIGNING|ACCOUNT))_KEY(?:_ID)?\Z")
_ADDRESS = re.compile(r"(?:PROXY|ENDPOINT|URL|URI|MIRROR|INDEX|ADDRESS|REGISTRY|DSN)\Z")
"""Ends of names whose values are addresses, also without ``http://`` before them."""
_PLAIN_WORDS = frozenset(["true", "false", "none", "null", "auto", "test"])
_SHORTEST = 4
"""Letters of a value that is looked for; a shorter one would cover parts of words everywhere."""
_CERTAIN = 8
"""Letters from which a value that is found in a text is no accident."""


class _Pattern(NamedTuple):
    """What a kind of secret looks like; group 1, where there is one, stays."""

    what: str
    pattern: re.Pattern[str]


_URL_USER = _Pattern("a password in an address", re.compile(r"""(:(?:\\?/){2})[^\s/?#"'<>\\]*@"""))
_ENCODED_URL_USER = _Pattern(
    "a password in an address", re.compile(r"""(?i)(%3A%2F%2F)(?:(?!%2F|%3F|%23)[^\s/?#"'<>\\&])*%40""")
)
_SHAPES = (
    _Pattern("a token of Hugging Face", re.compile(r"\b(?:hf|api_org)_(?=[A-Za-z0-9]*[0-9A-Z])[A-Za-z0-9]{8,}")),
    _Pattern("a token of ModelScope", re.compile(r"\bms-[0-9A-Fa-f][0-9A-Fa-f-]{15,}")),
    _Pattern("a token of GitHub or GitLab", re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}")),
    _Pattern("a key of a cloud", re.compile(r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|LTAI[0-9A-Za-z]{12,})\b")),
    _Pattern("a signed token", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
)
_CERTAIN_PATTERNS = (_URL_USER, _ENCODED_URL_USER, *_SHAPES)

_NAMED = r"(?:token|secret|passw(?:or)?d|passphrase|pwd|credentials?|api[_-]?key|access[_-]?key(?:[_-]?id)?)"
_LIKELY_PATTERNS = (
    # Parameters of a query, also percent-encoded; with `key` and `sig` among them, as signed addresses have it.
    _Pattern(
        "a parameter of an address",
        re.compile(
            rf"(?i)((?:[?&;#]|%3F|%26|%23)[\w.~%-]{{0,40}}?(?:{_NAMED}|sig|key|auth|policy|session)[\w.~-]{{0,40}}"
            rf"(?:=|%3D))(?:(?!%26)[^&\s\"'<>#;\\])+"
        ),
    ),
    _Pattern(
        "a header",
        re.compile(
            r"(?i)(\b(?:proxy-)?authorization[\"']?\s*[:=,]\s*(?:b(?=[\"']))?[\"']?(?:(?:basic|bearer|token|digest|negotiate|aws4-"
            r"hmac-sha256)\s+)?)(?:(?<=digest\s)[^\r\n'}\\]+|(?<=sha256\s)[^\r\n\"'}\\]+|(?!(?:basic|bearer|token|digest|"
            r"negotiate)\s)[^\s\"',}\\]{4,})"
        ),
    ),
    _Pattern(
        "a cookie",
        re.compile(r"(?i)(\b(?:set-)?cookie[\"']?\s*[:=,]\s*(?:b(?=[\"']))?[\"']?)(?=[^\s=;,\"']+=)[^\r\n\"'}\\]+"),
    ),
    _Pattern(
        "a header",
        re.compile(r"(\b(?i:bearer|basic)\s+)(?=\S*[0-9_=]|[A-Za-z]*[a-z][A-Z]|\S{20})[A-Za-z0-9._~+/=-]{8,}"),
    ),
    # name=value and name: value, as of a command line or a header; a quoted name only before a quoted value, so that
    # JSON stays JSON.
    _Pattern(
        "a named value",
        re.compile(rf"(?i)((?<![\w.-])[\w.-]{{0,60}}?{_NAMED}\s?[=:]\s?)(?![\"'*])[^\s\"',;&}}\])\\]{{4,}}"),
    ),
    _Pattern(
        "a named value",
        re.compile(rf"(?i)((?<![\w.-])[\w.-]{{0,60}}?{_NAMED}\\?[\"']?\s?[=:,]\s?b?\\?[\"'])[^\"'\\]{{4,}}"),
    ),
    _Pattern("an option", re.compile(rf"(?i)((?<!\S)--?[\w-]{{0,40}}?{_NAMED}\s+)[^\s\"',;-][^\s\"',;]{{3,}}")),
)
_OPTION = re.compile(rf"(?i)--?[\w-]{{0,40}}?{_NAMED}\Z")


def redact(text: str) -> str:
    """Return ``text`` with ``***`` for every secret in it, for a reader; redacting it again changes nothing."""
    text = _without_known(text)
    for each in (*_CERTAIN_PATTERNS, *_LIKELY_PATTERNS):
        text = _cover(each, text)
    return text


def redact_values(value: Any) -> Any:
    """Return what is to be recorded, a text or lists and mappings of texts, without its secrets; numbers stay.

    Halves of letters are spelled: a path that is no UTF-8 brings them, and no record can hold them.

    In a list that is a command line the value after ``--token`` is one too.
    """
    if isinstance(value, str):
        return redact(value).encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {redact_values(key): redact_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        before: tuple[Any, ...] = ("", *value)
        return type(value)(
            MASK if isinstance(each, str) and isinstance(last, str) and _OPTION.match(last) else redact_values(each)
            for last, each in zip(before, value, strict=False)
        )
    return value


def find_secret(text: str) -> str | None:
    """Say which certain secret a text holds, in words; None where it holds none."""
    for name, value in _secret_variables():
        if len(value) >= _CERTAIN and any(spelling in text for spelling in _spellings(value)):
            return f"the value of {name}"
    for what, pattern in _CERTAIN_PATTERNS:
        match = pattern.search(text)
        if match and MASK not in match[0]:
            return what
    return None


_WORDS = ("filename", "filename2", "strerror", "reason", "msg", "text")
"""Attributes in which Python's own exceptions keep words besides their arguments."""


def scrub(problem: BaseException) -> None:
    """Take the secrets out of an exception's words and of those that led to it, whose traceback others will print."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [problem]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(_scrubbed(argument, waiting) for argument in each.args)
        for name in {*vars(each), *_WORDS}:
            value = getattr(each, name, None)
            if isinstance(value, str) and redact(value) != value:
                # Some are read only, as the message of a group.
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(each, name, redact(value))
        if hasattr(each, "__notes__"):
            each.__notes__ = [redact(str(note)) for note in each.__notes__]
        waiting += [each.__cause__, each.__context__]
        waiting += getattr(each, "exceptions", ())


@contextlib.contextmanager
def scrubbing() -> Iterator[None]:
    """Take the secrets out of whatever leaves the block as an exception; also a decorator of functions."""
    try:
        yield
    except BaseException as problem:
        scrub(problem)
        raise


def _scrubbed(argument: object, waiting: list[BaseException | None]) -> object:
    if isinstance(argument, BaseException):
        waiting.append(argument)
        return argument
    if isinstance(argument, str | list | tuple | dict):
        return redact_values(argument)
    # A library's own object, as a connection or a request: its words stand for it where they hold a secret.
    words = str(argument)
    return argument if redact(words) == words else redact(words)


def _cover(each: _Pattern, text: str) -> str:
    mark = f"{MASK}@" if each is _URL_USER else f"{MASK}%40" if each is _ENCODED_URL_USER else MASK
    return each.pattern.sub(lambda match: (match[1] if match.re.groups else "") + mark, text)


def _without_known(text: str) -> str:
    known = _known(tuple(_secret_variables()))
    return known.sub(MASK, text) if known else text


def _secret_variables() -> Iterator[tuple[str, str]]:
    """Yield the variables of this process that hold secrets, each with one: its value, or its address's password."""
    for name, value in os.environ.items():
        if "@" in value and ("://" in value or _ADDRESS.search(name.upper())):
            yield from ((name, each) for each in _user_secrets(value))
        elif _is_secret(name):
            stripped = value.strip()
            # A path tells where a secret lies, and is none.
            if len(stripped) >= _SHORTEST and stripped.lower() not in _PLAIN_WORDS and stripped[0] not in "/.~":
                yield name, stripped


def _is_secret(name: str) -> bool:
    name = name.upper()
    return not _SECRET_WORDS.isdisjoint(name.split("_")) or _SECRET_KEY.search(name) is not None


def _user_secrets(address: str) -> Iterator[str]:
    """Yield what stands for a password before an address's ``@``, and what a client makes of it."""
    rest = address.strip().partition("://")[2] or address.strip()
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = place.rpartition("@")
    if not at:
        # A password with a slash in it, which should have been encoded and was not.
        user, _, _ = rest.rpartition("@")
        if not re.match(r"[^/:]*:(?!\d+(?:/|\Z))", user):
            return
    name, colon, password = user.partition(":")
    given = password if colon else name
    for each in {given, unquote(given)}:
        if len(each) >= _SHORTEST:
            yield each
    if colon:
        pair = f"{unquote(name)}:{unquote(password)}"
        yield base64.b64encode(pair.encode()).decode().rstrip("=")
        # Some put a token where the name is.
        if len(name) >= 2 * _CERTAIN:
            yield name


@functools.lru_cache(maxsize=8)
def _known(variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    found: set[str] = set()
    for _, value in variables:
        found |= _spellings(value)
    # The longest first: one may begin like another. A short one only where it is a word of its own.
    each = [
        re.escape(spelling)
        if len(spelling) >= _CERTAIN
        else rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})){re.escape(spelling)}(?![A-Za-z0-9])"
        for spelling in sorted(found, key=len, reverse=True)
    ]
    return re.compile("|".join(each)) if each else None


def _spellings(value: str) -> set[str]:
    """Give a secret as it may stand in a text: as it is, and escaped for an address, JSON, Python and HTML."""
    escaped = quote(value, safe="")
    spelled = {
        value,
        quote(value),
        quote_plus(value),
        escaped,
        re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), escaped),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        html.escape(value),
    }
    if len(value) >= _CERTAIN:
        spelled.add(base64.b64encode(value.encode(errors="surrogateescape")).decode().rstrip("="))
    return spelled
