"""A training step: Hugging Face's GPT-2 beside the suite's models, at three sizes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

from icl_curriculum.bench import competitors
from icl_curriculum.bench.competitors import HUGGING_FACE, Competitor, Missing
from icl_curriculum.bench.tables import SIZE_COLUMNS, BenchTable, Column, Job, ModelSize, Row, Settings, measured_on
from icl_curriculum.bench.timing import SQUARES, interleaved, peak, ratios, square_products
from icl_curriculum.core.machine import arithmetic, computing_threads, reproducible, waiting_for
from icl_curriculum.core.progress import Tell, between
from icl_curriculum.models.flops import count

COLUMNS = (
    *SIZE_COLUMNS,
    Column("competitor", "competitor"),
    Column("variant"),
    Column("precision"),
    Column("rounds"),
    Column("prompts_per_second", "prompts/s", ",.1f"),
    Column("seconds_per_step", "ms/step", ".2f", 1e3),
    Column("seconds_per_step_min", "min", ".2f", 1e3),
    Column("flop_per_step"),
    Column("flop_per_second", "GFLOP/s", ".1f", 1e-9),
    Column("share_of_peak", "of peak", ".0%"),
    Column("peak_flop_per_second"),
    Column("speedup", "vs HF", ".2f"),
    Column("speedup_low", "from", ".2f"),
    Column("speedup_high", "to", ".2f"),
)
#: The rounds in which Hugging Face's variants are timed to choose the one that is shown.
TRIALS = 3
#: Operations of a training step for each weight and token. They serve to estimate the time that is left.
_PER_WEIGHT = 6


def jobs(settings: Settings, squares: Sequence[int] = SQUARES) -> list[Job]:
    """One table for each number of threads and each size."""
    found = []
    for size in settings.sizes:
        for threads in settings.threads:
            weights = 12 * size.layers * size.width**2
            operations = _PER_WEIGHT * weights * 2 * size.points * size.batch
            # The trials of variants, then all competitors at some 50 GFLOP/s, and the square products.
            seconds = (settings.rounds + TRIALS) * (1e-10 * operations / threads + 0.7)
            found.append(Job(size.name, seconds, partial(measure, size, threads, settings, squares)))
    return found


def measure(size: ModelSize, threads: int, settings: Settings, squares: Sequence[int], tell: Tell) -> BenchTable:
    """Time all competitors at one size, in turns, by the kernels that a run computes with."""
    device, rows = settings.device, list[Row]()
    wait = waiting_for(device)
    with computing_threads(threads), reproducible(device), arithmetic(settings.precision, device):
        prompts = competitors.batches(size, device)
        taking_part: dict[str, Competitor] = {}
        notes = []
        try:
            theirs = _fastest(competitors.hugging_face_variants(size, prompts, device), device, between(tell, 0.0, 0.1))
            taking_part[HUGGING_FACE] = theirs
            notes.append(f"{HUGGING_FACE}: {theirs.variant}, the fastest of four; attention by torch's fused kernel")
            notes.append("vs HF: times as fast; median and quartiles of the rounds' ratios")
        except Missing as missing:
            notes.append(str(missing))
        for name in competitors.OURS:
            taking_part[name] = competitors.build(name, size, prompts, device)
        flops = {}
        with computing_threads(1):  # products of other threads would not be seen
            for name, competitor in taking_part.items():
                flops[name] = count(competitor.step)
        for name, like in competitors.COMPILED.items() if settings.compiled else ():
            taking_part[name] = competitors.build(name, size, prompts, device)
            flops[name] = flops[like]  # Nothing of what is compiled would be seen.
        products = square_products(device, squares)
        turns = {name: competitor.step for name, competitor in taking_part.items()}
        times = interleaved(
            {**turns, **{_product(n): product for n, product in products.items()}},
            settings.rounds, wait=wait, tell=between(tell, 0.1, 1.0),
        )  # fmt: skip
    peaks = peak({n: [2 * n**3 / seconds for seconds in times[_product(n)]] for n in products})
    for name, competitor in taking_part.items():
        seconds = statistics.median(times[name])
        row: Row = {
            "size": size.name, "width": size.width, "layers": size.layers, "heads": size.heads, "points": size.points,
            "dims": size.dims, "batch": size.batch, "competitor": name, "variant": competitor.variant,
            "precision": settings.precision, "rounds": settings.rounds, "prompts_per_second": size.batch / seconds,
            "seconds_per_step": seconds,
            "seconds_per_step_min": min(times[name]), "flop_per_step": flops[name],
            "flop_per_second": flops[name] / seconds,
            "share_of_peak": share_of_peak(flops[name], times[name], peaks),
            "peak_flop_per_second": statistics.median(peaks),
        }  # fmt: skip
        if HUGGING_FACE in times:
            ratio = ratios(times[HUGGING_FACE], times[name])
            row |= {"speedup": ratio.median, "speedup_low": ratio.low, "speedup_high": ratio.high}
        rows.append({**row, **measured_on(threads, device)})
    peak_shown = f"peak: {statistics.median(peaks) / 1e9:.1f} GFLOP/s, the best of torch.mm with n = "
    notes.append(peak_shown + ", ".join(map(str, squares)))
    plural = "thread" if threads == 1 else "threads"
    rounded = "" if settings.precision == "float32" else f", {settings.precision}"
    return BenchTable(f"{size}; {threads} {plural}, {device}{rounded}", rows, notes)


def share_of_peak(flop: float, times: Sequence[float], peaks: Sequence[float]) -> float:
    """The median over rounds of a rate divided by the rate that the hardware reached in the same round."""
    return statistics.median(flop / seconds / best for seconds, best in zip(times, peaks, strict=True))


def _product(n: int) -> str:
    return f"torch.mm, n = {n}"


def _fastest(variants: Sequence[Competitor], device: str, tell: Tell) -> Competitor:
    times = interleaved(
        {variant.variant: variant.step for variant in variants}, TRIALS, wait=waiting_for(device),
        tell=tell,
    )  # fmt: skip
    return min(variants, key=lambda variant: min(times[variant.variant]))
