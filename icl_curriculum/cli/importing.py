"""``icl import``, with what may be said of a checkpoint. Light: ``icl --help`` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icl_curriculum.cli import completion
from icl_curriculum.cli.options import LARGEST, Device, Plugins, Results


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="a folder with config.yaml and state.pt, or a model_STEP.pt, of either code"
        ),
    ],
    results: Results = Path("results"),
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="the experiment's; default: that of the checkpoint's folder")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="the run's; default: 'imported', or model_STEP")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="SEED", help="the training seed; default: the configuration's, or 0")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, metavar="N", help="attention heads; default: the configuration's")
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=LARGEST,
            metavar="K+1",
            help="points of its longest training prompts; default: the configuration's, or one less than it can read",
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, metavar="STEP", help="when it was kept; default: as the file or its name says")
    ] = None,
    function_class: Annotated[
        list[str] | None,
        typer.Option(
            "--function-class",
            metavar="CLASS",
            autocompletion=completion.registered("function_classes"),
            help="a class that it was trained on; can be repeated",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            metavar="INPUTS",
            autocompletion=completion.registered("inputs"),
            help="inputs that it was trained on; can be repeated",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the configuration; default: config.yaml beside the checkpoint")
    ] = None,
    prompt_type: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="standard, or model_two, model_three, model_four: an instruction in front"),
    ] = None,
    instruction_file: Annotated[
        list[Path] | None,
        typer.Option("--instruction-file", metavar="FILE", help="model_four: the vector of a class; once for each"),
    ] = None,
    n_prompts: Annotated[
        int | None, typer.Option(min=2, max=LARGEST, metavar="N", help="prompts of its evaluation; default: 1280")
    ] = None,
    device: Device = "auto",
    plugin: Plugins = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="move another run in the same place aside")] = False,
) -> None:
    """Make a finished run of a checkpoint of Garg et al.'s or Bhasin et al.'s code, evaluated as any other.

    What a configuration says need not be given. --function-class and --inputs also say what stands for a task or for
    inputs that the suite has no counterpart of.
    """
    from icl_curriculum.cli import display, progress
    from icl_curriculum.core.machine import resolve_device
    from icl_curriculum.runs.importing.command import Import
    from icl_curriculum.runs.importing.foreign_run import Told

    told = Told(
        name=name, variant=variant, seed=seed, heads=heads, points=points, step=step,
        function_classes=function_class or (), inputs=inputs or (), config=config, prompt_type=prompt_type,
        instruction_files=instruction_file or (), n_prompts=n_prompts, plugins=plugin or (),
    )  # fmt: skip
    device = resolve_device(device)
    found = Import(path, told)
    with progress.bank_view(found.run.name, found.banks) as tell:
        written = found.write(results, tell, device=device, fresh=fresh)
    display.show_import(written)
