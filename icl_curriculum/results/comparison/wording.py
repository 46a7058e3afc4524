"""Numbers as a reader wants them."""

from __future__ import annotations

import math

from icl_curriculum.results.statistics.seeds import Estimate


def error(value: float) -> str:
    """Three decimals, or two significant digits where these would be noughts.

    >>> error(0.0456), error(1.5), error(0.00123), error(math.inf), error(math.nan)
    ('0.046', '1.500', '0.0012', '∞', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return text.replace("-", "−")


def level(value: float) -> str:
    """A number that others are held against, to four digits.

    >>> level(0.5), level(2 / 3), level(1000.0)
    ('0.5', '0.6667', '1000')
    """
    return f"{float(f'{value:.4g}'):g}"


def between(made: Estimate, *, least: float = -math.inf) -> str:
    """An interval, ``0.016–0.023``; with ``to`` where a sign would be read as the dash. Cut off at ``least``."""
    if math.isnan(made.low):
        return "–"
    low, high = error(max(made.low, least)), error(made.high)
    return f"{low} to {high}" if "−" in low + high else f"{low}–{high}"


def count(value: float) -> str:
    """A number of prompts or steps, ``∞`` as never.

    >>> count(12800.0), count(math.inf), count(math.nan)
    ('12,800', 'never', '–')
    """
    if math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:,.0f}"


def operations(value: float) -> str:
    """Floating-point operations with a prefix.

    >>> operations(5.3e11), operations(0.0)
    ('530 G', '0')
    """
    if math.isnan(value) or value <= 0:
        return "–" if math.isnan(value) else "0"
    power = min(5, int(math.log10(float(f"{value:.3g}")) // 3))
    return f"{value / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P'][power]}".rstrip()


def listed(items: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
