"""The kinds of device that runs were made on, and that runs of different kinds are not paired seed by seed.

A run draws the prompts that it is trained on, on its device, whose generator is another on another kind; and every sum
there ends in other last bits, which training enlarges. So two runs of one seed have nothing more in common on two kinds
than two of different seeds. The prompts of evaluation banks are the same everywhere, as their hashes say, so errors may
stand side by side; and what baselines and oracles answer to them differs in the last bits alone, whatever computed it,
far below anything that is said of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The kind of device by variant and seed; those of which it is not known are absent.
DeviceKinds = Mapping[tuple[str, int], str]


def device_of_run(manifest: Mapping[str, Any]) -> str | None:
    """The kind of device that a run was made on, as its manifest says: ``cuda``, or ``cuda, evaluated on cpu``."""
    trained = _kind(manifest.get("device"))
    again = manifest.get("evaluated_with")
    evaluated = _kind(again.get("device")) if isinstance(again, Mapping) else None
    if trained is None or evaluated in (None, trained):
        return trained
    return f"{trained}, evaluated on {evaluated}"


def _kind(device: object) -> str | None:
    return device.partition(":")[0] if isinstance(device, str) and device else None


def of_one_kind(one: str | None, other: str | None) -> bool:
    """Whether two runs may be paired; where nothing is known of one, nothing speaks against it."""
    return one is None or other is None or one == other


def mixed_devices(kinds: DeviceKinds) -> list[str]:
    """Sentences on runs that were made on different kinds of device; none where all are of one."""
    if len(found := list(dict.fromkeys(kinds.values()))) < 2:
        return []
    of_variant: dict[str, dict[str, list[int]]] = {}
    for (variant, seed), kind in kinds.items():
        of_variant.setdefault(variant, {}).setdefault(kind, []).append(seed)
    listed = "; ".join(
        f"on {kind} " + ", ".join(_named(variant, own, kind) for variant, own in of_variant.items() if kind in own)
        for kind in found
    )
    sentences = [
        f"The runs were made on different kinds of device, which train on other prompts and round otherwise: {listed}. "
        f"Runs of one seed are paired only where both were made on the same kind."
    ]
    for variant, own in of_variant.items():
        if len(own) > 1:
            sentences.append(
                f"The seeds of {variant} were made on different kinds of device: what they differ by may not be the "
                f"seed alone."
            )
    return sentences


def _named(variant: str, own: Mapping[str, list[int]], kind: str) -> str:
    """A variant, with those of its seeds that were made on a kind of device where others were not."""
    if len(own) == 1:
        return variant
    return f"{variant} (seed{'s' * (len(own[kind]) > 1)} {', '.join(map(str, sorted(own[kind])))})"
