"""Speed: training steps beside Hugging Face's GPT-2, time to quality, throughput, memory, and tables that grow.

A section lists jobs, and each job makes one table. A new section is a file of its own and a line in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from icl_curriculum.bench import growth, memory, methods, quality, step, throughput
from icl_curriculum.bench.tables import SIZES, BenchSection, BenchTable, Column, Job, ModelSize, Settings
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.machine import available_cores, check_precision, resolve_device

SECTIONS: dict[str, BenchSection] = {
    "step": BenchSection("a training step, all competitors on the same prompts and in turns", step.COLUMNS, step.jobs),
    "methods": BenchSection("an update of every training method", methods.COLUMNS, methods.jobs),
    "quality": BenchSection("seconds of training until the error is so small", quality.COLUMNS, quality.jobs),
    "throughput": BenchSection("prompts per second, drawn and answered", throughput.COLUMNS, throughput.jobs),
    "memory": BenchSection("peak memory, each in a process of its own", memory.COLUMNS, memory.jobs),
    "growth": BenchSection("comparing and reporting, by the number of variants", growth.COLUMNS, growth.jobs),
}


def chosen(names: Sequence[str], settings: Settings) -> dict[str, BenchSection]:
    """The sections of these names, all of them if there are none.

    UserError for an unknown name, and for settings that none of the sections reads.
    """
    for name in names:
        if name not in SECTIONS:
            raise UserError(f"unknown section {name!r}{did_you_mean(name, SECTIONS)}")
    found = {name: section for name, section in SECTIONS.items() if name in names or not names}
    if "quality" not in found:
        _expect_unasked("quality", {"--set": settings.overrides, "--full": settings.full}, found)
    if "step" not in found:
        rounded = settings.precision != "float32"
        _expect_unasked("step", {"--precision": rounded, "--compile": settings.compiled}, found)
    try:
        check_precision(settings.precision, settings.device)
    except UserError as error:
        raise UserError(f"--precision: {error.reason}") from None
    if settings.record and not settings.full:
        raise UserError("--record records what --full measures: give both")
    return found


def _expect_unasked(section: str, options: Mapping[str, object], chosen: Collection[str]) -> None:
    """UserError for an option that is given, and none of the chosen sections reads."""
    for option, given in options.items():
        if given:
            raise UserError(f"{option} is for the section {section}, which is not among {', '.join(chosen)}")


def default_threads(device: str) -> tuple[int, ...]:
    """The numbers of threads to measure with: one, and on a CPU with two cores or more also two."""
    return (1, 2) if device == "cpu" and available_cores() >= 2 else (1,)


def usable_device(device: str) -> str:
    """Returns the device; ``auto`` is CUDA, else the CPU. UserError for one that is missing or cannot be timed here."""
    found = "cpu" if device == "auto" and resolve_device(device) == "mps" else resolve_device(device)
    if found == "mps":
        raise UserError("--device mps: speed is measured on cpu and cuda")
    return found


__all__ = [
    "SECTIONS",
    "SIZES",
    "BenchSection",
    "BenchTable",
    "Column",
    "Job",
    "ModelSize",
    "Settings",
    "chosen",
    "default_threads",
    "usable_device",
]
