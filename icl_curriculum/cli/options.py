"""Options that commands share, and how their texts are read. Light: ``icl --help`` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from icl_curriculum.cli import completion

#: The same as `LARGEST` of core.registry, which would import pydantic here.
LARGEST = 1_000_000

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", autocompletion=completion.experiments, help="an experiment's name, or a .toml file"),
]
Finished = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=completion.results, help="an experiment's name, or its folder of results"
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. training.steps=200"),
]
Sweep = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=V1,V2",
        help="try values of a key, each a variant, e.g. model.width=16,32; of several keys, every combination",
    ),
]
Seeds = Annotated[
    str | None, typer.Option(metavar="0,1,2", help="training seeds instead of the file's; 0-99: all from 0 to 99")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="a Python file that registers components"),
]
Results = Annotated[Path, typer.Option(metavar="DIR", help="folder for results")]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", autocompletion=completion.devices, help="auto, cpu, cuda, cuda:N or mps")
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        metavar="N",
        help="processes that train each run together, on this machine; at most training.shards; default: one",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="LAUNCHER",
        autocompletion=completion.registered("launchers"),
        help="execute the runs elsewhere: slurm, ray, a table, or FILE.py; default: in processes of this machine",
    ),
]
SlurmOptions = Annotated[
    str | None,
    typer.Option("--slurm", metavar="OPTIONS", help='options for sbatch, as "--partition=gpu --time=4:00:00"'),
]
Error = Annotated[
    float | None,
    typer.Option(metavar="E", help="the error that counts as converged; default: 0.5, halfway to perfect"),
]
ShownMetricName = Annotated[
    str | None,
    typer.Option(
        "--metric", metavar="METRIC", help="a metric of evaluation.csv to show in the place of the normalized error"
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="LOGGER",
        autocompletion=completion.loggers,
        help="log live to tensorboard or wandb; can be repeated",
    ),
]

FunctionClasses = Annotated[
    list[str] | None,
    typer.Option(
        "--function-class",
        metavar="CLASS",
        autocompletion=completion.registered("function_classes"),
        help="a function class; 'all': every one",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--inputs",
        metavar="INPUTS",
        autocompletion=completion.registered("inputs"),
        help="an input distribution; 'all': every one",
    ),
]
Shifts = Annotated[
    list[str] | None,
    typer.Option(
        "--shift",
        metavar="SHIFT",
        autocompletion=completion.registered("shifts"),
        help="a shift; 'all': the catalogue's",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="METRIC",
        autocompletion=completion.registered("metrics"),
        help="a metric beside those that every evaluation has; can be repeated",
    ),
]
Predictions = Annotated[
    str | None,
    typer.Option(
        "--predictions",
        metavar="parquet|csv",
        help="also write what everyone answered to each prompt, as predictions.parquet or predictions.csv",
    ),
]
NPrompts = Annotated[
    int | None,
    typer.Option(min=2, max=LARGEST, metavar="N", help="prompts of each bank; default: the run's own, or 1280"),
]


def parse_seeds(text: str | None) -> list[int] | None:
    """Reads ``0,1,2``, and ``0-99`` as all from 0 to 99. UserError for anything else."""
    if text is None:
        return None
    first, dash, last = (part.strip() for part in text.partition("-"))
    ends = [int(part) for part in (first, last) if part.isascii() and part.isdigit() and len(part) < 1000]
    if dash and len(ends) == 2 and 0 <= ends[1] - ends[0] < LARGEST:
        return list(range(ends[0], ends[1] + 1))
    return _numbers(text, "--seeds", "non-negative whole numbers", "--seeds 0,1,2 or --seeds 0-99", 1000)


def parse_lengths(text: str | None) -> Literal["all"] | tuple[int, ...] | None:
    """Reads ``all``, or ``5,10``. UserError for anything else."""
    if text is None or text == "all":
        return "all" if text else None
    return tuple(_numbers(text, "--lengths", "'all' or numbers of examples", "5,10", len(str(LARGEST))))


def parse_threads(text: str | None) -> tuple[int, ...] | None:
    """Reads ``1,2`` and drops repetitions. UserError for anything else."""
    if text is None:
        return None
    expected = "numbers of threads from 1 to 1024"
    numbers = _numbers(text, "--threads", expected, "--threads 1,2", 4)
    if not all(1 <= number <= 1024 for number in numbers):
        from icl_curriculum.core.errors import UserError

        raise UserError(f"--threads {text}: expected {expected} with commas between, e.g. --threads 1,2")
    return tuple(dict.fromkeys(numbers))


def parse_heads(text: str | None) -> tuple[int, ...] | None:
    """Reads ``1,2``, and ``0`` as none. UserError for anything else."""
    if text is None:
        return None
    found = _numbers(text, "--n", "numbers of heads", "--n 1,2", 6)
    return tuple(dict.fromkeys(number for number in found if number))


def _numbers(text: str, option: str, expected: str, example: str, digits: int) -> list[int]:
    from icl_curriculum.core.errors import UserError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= digits for part in parts):
        shown = text if len(text) <= 100 else f"{text[:100]}…"
        raise UserError(f"{option} {shown}: expected {expected} with commas between, e.g. {example}")
    return [int(part) for part in parts]
