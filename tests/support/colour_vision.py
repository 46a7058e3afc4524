"""Colours as readers with other colour vision see them, and how far apart two are.

The matrices are those of Machado, Oliveira and Fernandes 2009 ("A physiologically-based model for simulation of color
vision deficiency", table 1, severity 1.0), which map linear RGB to linear RGB. Grey is what a printer without colour
leaves: the luminance. Distances are Euclidean in CIELAB (CIE 1976), where 2.3 is a difference that is just noticed side
by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb

VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]
    ]),
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}  # fmt: skip

_TO_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]
])  # fmt: skip


def lab(colour: str, vision: str = "usual") -> np.ndarray:
    """A colour as seen, in CIELAB under D65."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = _TO_XYZ @ np.clip(VISIONS[vision] @ linear, 0, 1) / (_TO_XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, vision: str = "usual") -> float:
    """How far apart two colours are for who sees so."""
    return float(np.linalg.norm(lab(one, vision) - lab(other, vision)))


def closest(colours: Sequence[str], vision: str) -> tuple[float, str, str]:
    """The two colours of several that are the closest, and how far apart they are."""
    pairs = [(a, b) for i, a in enumerate(colours) for b in colours[i + 1 :]]
    return min((distance(a, b, vision), a, b) for a, b in pairs)
