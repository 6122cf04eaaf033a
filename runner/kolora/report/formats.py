"""Numbers, durations, sizes and times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

from kolora.report.values import Language

_UNITS: dict[Language, tuple[str, str, str]] = {
    "en": ("\u00a0h", "\u00a0min", "\u00a0s"),
    "zh": ("\u00a0小时", "\u00a0分", "\u00a0秒"),
}
"""With a space that no line breaks at."""


def duration(seconds: float, language: Language) -> str:
    """Say a duration to about three digits: 0.04 s, 1.3 s, 42 s, 3 min 05 s, 2 h 07 min."""
    hour, minute, second = _UNITS[language]
    # The bounds are where rounding reaches the next form: 0.996 would be said as 1.00 s.
    if seconds < 0.995:
        return f"{seconds:.2f}{second}"
    if seconds < 9.95:
        return f"{seconds:.1f}{second}"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        return f"{whole // 60}{minute} {whole % 60:02d}{second}"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{hour} {minutes % 60:02d}{minute}"


def number(value: float, digits: int = 3) -> str:
    """Say a number with so many significant digits and no exponent unless it is tiny or huge: 0.512, 4, 0.0001."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        rounded = float(f"{value:.{digits}g}")
        return str(int(rounded)) if rounded.is_integer() else f"{rounded:f}".rstrip("0")
    return f"{value:.{digits}g}"


def count(value: int) -> str:
    """Say a whole number with its thousands apart."""
    return f"{value:,}"


def memory(value: int) -> str:
    """Say a number of bytes in binary units."""
    amount, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):  # noqa: B007
        if amount < 1024:
            break
        amount /= 1024
    return f"{number(amount, 4)} {unit}"


def when(started: str) -> str:
    """Say an ISO 8601 time to the minute in UTC; text that is no such time stays as it is."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
