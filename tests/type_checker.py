"""What checks the shapes that signatures state, whenever the tests run: beartype. Other types are mypy's business."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

# beartype looks at random items of a list. Tests watch Python's global generator, so beartype gets one of its own.
_shared = random.getrandbits
random.getrandbits = random.Random(0).getrandbits
try:
    from beartype import beartype
finally:
    random.getrandbits = _shared


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with those arguments and results checked that are annotated like ``Float[Tensor, "n dims"]``."""
    annotations = function.__annotations__.items()
    function.__annotations__ = {name: annotation for name, annotation in annotations if "[Tensor, " in str(annotation)}
    return beartype(function) if function.__annotations__ else function
