"""The command line: parse, call, show. No science and no file formats live here.

Each command imports what it needs when it is called: this module takes 0.1 s of a processor, all that `run` needs 2 s,
which nobody should wait for who asks for --help or presses the tab key.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icl_curriculum.cli import completion, endings, flags, importing
from icl_curriculum.cli.commands import CommandLine, CommandLineApp, shared_options
from icl_curriculum.cli.options import (
    LARGEST,
    Device,
    Error,
    Finished,
    FunctionClasses,
    Inputs,
    Log,
    Metrics,
    Name,
    NPrompts,
    On,
    Plugins,
    Predictions,
    Processes,
    Results,
    Seeds,
    Set,
    Shifts,
    ShownMetricName,
    SlurmOptions,
    Sweep,
    parse_lengths,
    parse_seeds,
    parse_threads,
)
from icl_curriculum.cli.signals import Signals
from icl_curriculum.core.options import named_as_on_the_command_line
from icl_curriculum.core.processes import Place, hush, place_by_torchrun

if TYPE_CHECKING:  # imports torch
    from icl_curriculum.runs.launch import LaunchOutcome

app = CommandLineApp(
    cls=CommandLine,
    help="In-context learning of synthetic function classes: train, evaluate, plot.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.callback()(shared_options)


@app.command()
def run(
    name: Name,
    set_: Set = None,
    sweep: Sweep = None,
    seeds: Seeds = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="runs at once; default: as many as keep all cores busy, or one on each GPU"
        ),
    ] = None,
    processes: Processes = None,
    device: Device = "auto",
    results: Results = Path("results"),
    plugin: Plugins = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="move runs of another config, and unfinished ones, aside and start anew"),
    ] = False,
    log: Log = None,
    predictions: Predictions = None,
    on: On = None,
    slurm: SlurmOptions = None,
    parts: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="answer the evaluation of each run in N parts, each a job of its own, as --jobs and --on have room",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="only say what would be trained, evaluated anew or kept, and what it costs; with --on, what would be "
            "submitted",
        ),
    ] = False,
) -> None:
    """Train, evaluate and plot an experiment. Finished runs are kept, or evaluated anew where only that has changed;
    interrupted ones resume.
    """
    from icl_curriculum.cli import display, launching, progress
    from icl_curriculum.config import loading as experiment_files
    from icl_curriculum.config.option_values import parse_sweeps
    from icl_curriculum.core.machine import resolve_device
    from icl_curriculum.results.predictions import check_format
    from icl_curriculum.runs.experiment import carry_out

    predictions = None if predictions is None else check_format(predictions)
    loaded = experiment_files.load(
        name, overrides=set_ or [], seeds=parse_seeds(seeds), plugins=plugin or [], sweep=parse_sweeps(sweep or [])
    )
    launcher = launching.launcher_of(on, slurm)
    # Elsewhere, it is a device of the machines that execute the runs.
    device = resolve_device(device) if launcher is None else device
    if dry_run:
        from icl_curriculum.cli import planning
        from icl_curriculum.runs.leading import leading

        with leading(processes) as leader:
            if leader is not None:
                leader.check(loaded, jobs, None if launcher is None else launcher.id)
                device = leader.device_for(device)
        if launcher is not None:
            raise typer.Exit(
                planning.show_launch(
                    launcher, loaded, results, device, jobs=jobs, fresh=fresh, log=log or (), parts=parts
                )
            )
        raise typer.Exit(planning.show(loaded, results, device, fresh=fresh, predictions=predictions, parts=parts))
    if launcher is not None and launcher.outlives_command:
        endings.leaves("jobs that were submitted go on: icl status shows them, and the same command attaches to them")
    where = device if launcher is None else f"{launcher.name}, device {device}"
    with progress.live_view(loaded, where) as view:

        def launched(outcome: LaunchOutcome) -> None:
            view.stop()
            display.show_launched(outcome, debug=endings.tracebacks())

        outcome = carry_out(
            loaded, results, jobs=jobs, processes=processes, device=device, fresh=fresh, log=log or (),
            predictions=predictions, on=launcher, parts=parts, report=view.report, queued=view.queued,
            started=view.started, ended=view.ended, launched=launched, note=display.show_note,
        )  # fmt: skip
    if outcome.launched.finished or outcome.launched.skipped:
        display.show_results(outcome.launched.directory, outcome.figures)
        display.show_predictions(outcome.launched.directory / "*", predictions)
        if (outcome.launched.directory / "scorecard.csv").is_file():
            from icl_curriculum.cli import standings
            from icl_curriculum.core.notices import said_if_not_shown
            from icl_curriculum.scoring.benchmark import build_leaderboard

            with said_if_not_shown("the leaderboard", "shown"):
                standings.show(build_leaderboard([str(outcome.launched.directory)], results, None))
    if outcome.report is not None:
        display.show_report(outcome.report)
    if outcome.launched.failures:
        display.show_failures(outcome.launched.failures, debug=endings.tracebacks())
        raise typer.Exit(1)


@app.command()
def status(name: Finished, on: On = None, results: Results = Path("results")) -> None:
    """How far the runs of an experiment are, wherever they are executed: done, running, waiting, requeued or failed."""
    from icl_curriculum.cli import statuses
    from icl_curriculum.runs import status as standing

    statuses.show(standing.status(name, results=results, on=on))


@app.command()
def evaluate(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the folder of a finished run")],
    function_class: FunctionClasses = None,
    inputs: Inputs = None,
    shift: Shifts = None,
    n_prompts: NPrompts = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            "--mask",
            metavar="HEADS",
            help="also with these attention heads masked: retrospective/n=2, 4.1+4.5, with /by=mean; can be repeated",
        ),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            "--instruction",
            metavar="CLASS",
            help="also told the instruction of this class, or neutral, whatever it is asked; can be repeated",
        ),
    ] = None,
    adapt: Annotated[
        list[str] | None,
        typer.Option(
            "--adapt",
            metavar="STEPS",
            help="also adapted to each cell, or to each prompt: steps=20,rate=0.1, per_prompt,steps=1; prompts=128, "
            "optimizer=adam; beside masks and instructions, not combined with them; can be repeated",
        ),
    ] = None,
    metric: Metrics = None,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step", metavar="N", help="the weights that the run kept at this step, or 'all'; can be repeated"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where to write; default: RUN_DIR/evaluate")
    ] = None,
    device: Device = "auto",
    plugin: Plugins = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="banks answered at once")] = 1,
    predictions: Predictions = None,
) -> None:
    """Ask a trained model about any class, inputs and shift; by default, its classes under every shift.

    A component is a name, an id as the tables show it (scaled_inputs/0.5), or a TOML table
    ('{ name = "scaled_inputs", factor = 0.5 }'). Options can be repeated.
    """
    from icl_curriculum.cli import display, progress
    from icl_curriculum.runs import launch
    from icl_curriculum.scoring.asked_run import EvaluationQuestions
    from icl_curriculum.scoring.evaluate import evaluate_run
    from icl_curriculum.scoring.grid import AskedCells

    questions = EvaluationQuestions(
        AskedCells(function_class or (), inputs or (), shift or ()),
        n_prompts,
        masks=mask or (),
        instructions=instruction or (),
        adaptations=adapt or (),
        metrics=metric or (),
        steps=step or (),
        predictions=predictions,
    )
    written, grid = evaluate_run(
        run_dir,
        questions,
        output=output,
        device=launch.resolve_device(device),
        plugins=plugin or (),
        jobs=jobs,
        view=progress.bank_view,
    )
    display.show_evaluation(written, grid)
    display.show_predictions(written[-1].table.parent, predictions)


@app.command()
def heads(
    path: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the folder of a finished run, or a folder of such")],
    masked: Annotated[
        str | None,
        typer.Option("--n", metavar="1,2", help="how many heads to mask; 0: none; default: 7 of 96, at least one"),
    ] = None,
    score: Annotated[str, typer.Option(metavar="SCORE", help="whose highest heads are masked")] = "retrospective",
    by: Annotated[
        str, typer.Option(metavar="zero|mean", help="what a masked head says: nothing, or its mean")
    ] = "zero",
    controls: Annotated[
        int, typer.Option(min=0, max=10_000, metavar="N", help="sets of other heads that are masked, too")
    ] = 20,
    n_prompts: Annotated[
        int, typer.Option(min=2, max=LARGEST, metavar="N", help="prompts on which errors with masks are measured")
    ] = 256,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="runs at once")] = 1,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step", metavar="N", help="the weights that the run kept at this step, or 'all'; can be repeated"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="where to write; default: RUN_DIR/heads")] = None,
    device: Device = "auto",
) -> None:
    """What the attention heads of a run attend to, and what masking the highest-scoring ones does to its errors.

    Of a folder of runs, each is looked at, and DIR/masking.csv has means and intervals over the seeds of each variant.
    """
    from icl_curriculum.cli import display, progress
    from icl_curriculum.cli.options import parse_heads
    from icl_curriculum.core.machine import resolve_device
    from icl_curriculum.scoring.heads import HeadQuestions, study_heads

    questions = HeadQuestions.checked(score, parse_heads(masked), by, controls, n_prompts)
    with progress.share_view("heads") as tell:
        written = study_heads(
            path, questions, output=output, device=resolve_device(device), jobs=jobs, steps=step or (), tell=tell
        )
    display.show_heads(written)


@app.command()
def score(
    learners: Annotated[
        list[str],
        typer.Argument(
            metavar="LEARNER",
            autocompletion=completion.registered("baselines"),
            help="a baseline, a scikit-learn regressor, FILE.py:NAME, or the folder of a trained run or of several",
        ),
    ],
    function_class: FunctionClasses = None,
    inputs: Inputs = None,
    shift: Shifts = None,
    dims: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, metavar="D", help="dimensions; default: the runs', or 5")
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(min=2, max=LARGEST, metavar="K+1", help="points of a prompt; default: the runs', or 4 D + 1"),
    ] = None,
    n_prompts: NPrompts = None,
    bank_seed: Annotated[
        int | None, typer.Option(min=0, metavar="SEED", help="seed of the banks; default: the runs', or 0")
    ] = None,
    costly_prompts: Annotated[
        int,
        typer.Option(min=2, max=LARGEST, metavar="N", help="prompts for learners that are fitted to every prompt anew"),
    ] = 128,
    lengths: Annotated[
        str | None,
        typer.Option(metavar="5,10", help="numbers of examples for these learners, or 'all'; default: d/2, d, 2d, 4d"),
    ] = None,
    metric: Metrics = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="where to write; default: results/score, of the benchmark results/benchmark_score"
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            autocompletion=completion.devices,
            help="auto, cpu, cuda, cuda:N or mps; for trained models",
        ),
    ] = "auto",
    plugin: Plugins = None,
    predictions: Predictions = None,
    benchmark: Annotated[
        bool,
        typer.Option(
            "--benchmark", help="on the frozen prompts of the benchmark, among the learners of the leaderboard"
        ),
    ] = False,
) -> None:
    """Score learners on any class, inputs and shift, without training: the tables and the figure of an experiment.

    A learner is a baseline (ridge, lasso/0.01), a scikit-learn regressor (SVR, or a TOML table with parameters),
    FILE.py:NAME (a function (xs, ys, x_query) -> y, a regressor, an object with predict), or a folder of results.
    """
    from icl_curriculum.cli import display, progress
    from icl_curriculum.evaluation.asking import CostlyConfig
    from icl_curriculum.runs import launch
    from icl_curriculum.scoring.grid import AskedCells
    from icl_curriculum.scoring.score_folder import PromptSize, Scoring

    costly = CostlyConfig(n_prompts=costly_prompts, lengths=parse_lengths(lengths))
    grid = None
    if benchmark:
        from icl_curriculum.cli import standings as board
        from icl_curriculum.scoring import benchmark as frozen

        board.refuse_other_prompts(
            {
                "--function-class": function_class, "--inputs": inputs, "--shift": shift, "--dims": dims,
                "--points": points, "--n-prompts": n_prompts, "--bank-seed": bank_seed is not None,
            }
        )  # fmt: skip
        costly, grid = frozen.benchmark_costly(costly), frozen.benchmark_grid()
    output = output or Path("results/benchmark_score" if benchmark else "results/score")
    scoring = Scoring(
        learners,
        AskedCells(function_class or (), inputs or (), shift or ()),
        PromptSize(dims, points, n_prompts, bank_seed),
        costly,
        plugins=plugin or [],
        device=launch.resolve_device(device),
        metrics=metric or (),
        predictions=predictions,
        grid=grid,
    )
    with progress.bank_view("score", scoring.grid.banks) as tell:
        written = scoring.score(output, tell)
    if benchmark:
        display.show_scored(written)
        board.show(frozen.build_leaderboard([str(written.folder)], Path("results"), None))
    else:
        display.show_scores(written)
    display.show_predictions(written.folder, predictions)
    if written.silent:
        raise typer.Exit(1)


app.command("import")(importing.import_)


@app.command()
def plot(
    name: Finished,
    baselines: Annotated[
        list[str] | None,
        typer.Option(
            "--baselines",
            metavar="BASELINE",
            autocompletion=completion.registered("baselines"),
            help="'all', or one by its id; can be repeated; default: the best ones",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="VARIANT",
            help="which has figures of its own: 'all', or one by its name; can be repeated; default: all of up to six",
        ),
    ] = None,
    metric: ShownMetricName = None,
    results: Results = Path("results"),
) -> None:
    """Redraw an experiment's figures, or those of scores, from its CSV files alone."""
    from icl_curriculum import figures
    from icl_curriculum.cli import display, output
    from icl_curriculum.results.directory import find_results

    shown = "best" if not baselines else "all" if baselines == ["all"] else baselines
    directory = find_results(name, results)
    drawn = figures.draw_all(directory, baselines=shown, variants=variant, metric=metric, say=output.note)
    display.show_figures(drawn, asked=True)
    if not drawn:
        output.note(f"{directory}: no figure was drawn")


@app.command()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", autocompletion=completion.results, help="experiments by name, or folders of results"
        ),
    ],
    against: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="what others are compared with; default: single-task training")
    ] = None,
    error: Error = None,
    examples: Annotated[
        int | None,
        typer.Option(min=0, max=LARGEST, metavar="K", help="compare at so many examples; default: the longest prompts"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="where summary.csv goes; default: the experiment's folder, or DIR/compare"),
    ] = None,
    metric: ShownMetricName = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="write every two variants to summary.csv, also of more than twelve")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Statistics over seeds of an experiment's variants, or of several experiments, pair by pair."""
    from icl_curriculum.cli import comparison as view
    from icl_curriculum.results.comparison import command

    compared = command.set_side_by_side(
        names,
        results,
        threshold=error,
        output=output,
        against=against,
        examples=examples,
        metric=metric,
        all_pairs=all_pairs,
    )
    view.show(compared, against)


@app.command()
def leaderboard(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            autocompletion=completion.results,
            help="experiments by name, or folders of results or scores; default: the committed table alone",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="also write the table of these learners alone into a file")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """What learners score on the frozen benchmark: those of your results, among those of the committed table."""
    from icl_curriculum.cli import standings as board
    from icl_curriculum.scoring.benchmark import build_leaderboard

    board.show(build_leaderboard(names or [], results, output))


@app.command()
def transfer(
    name: Finished,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where transfer.csv goes; default: the experiment's folder")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """How training methods carry over to classes and inputs that they were not trained on, against plain training."""
    from icl_curriculum.cli import transfer_tables
    from icl_curriculum.results.directory import find_results
    from icl_curriculum.results.transfer.command import write_transfer

    transfer_tables.show(write_transfer(find_results(name, results), output))


@app.command()
def report(
    name: Finished,
    error: Error = None,
    metric: ShownMetricName = None,
    results: Results = Path("results"),
) -> None:
    """Write an experiment's report.html, one page that needs nothing else, and its summary.csv."""
    from icl_curriculum.cli import display
    from icl_curriculum.pages import report_on
    from icl_curriculum.results.directory import find_results

    display.show_report(report_on(find_results(name, results), threshold=error, metric=metric), asked=True)


@app.command()
def clean(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            autocompletion=completion.results,
            help="a run, an experiment by name or folder, or a folder of results; default: that of --results",
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            autocompletion=completion.removable,
            help="checkpoints, state, cache, temporary, aside, predictions; can be repeated; default: the first four",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="remove what is listed; without it, nothing is")] = False,
    results: Results = Path("results"),
) -> None:
    """Say what weights kept along training and other leftovers take, and remove them if --remove is given.

    Tables, figures and the last weights of a run are never among them. Runs in use or unfinished are left alone.
    """
    from icl_curriculum.cli import cleaning
    from icl_curriculum.results.directory import find_results

    places = [find_results(name, results) for name in folders] if folders else [find_results(str(results), results)]
    cleaning.show(places, kind, remove=remove)


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            autocompletion=completion.kinds,
            help="experiments, a kind of component, coverage or columns",
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List experiments and every registered component, with where it comes from and what it is."""
    from icl_curriculum.cli import listing
    from icl_curriculum.core import plugins as plugin_files

    for file in plugin or []:
        plugin_files.load_plugin(file)
    listing.show_components(kind)


@app.command()
def show(
    name: Name,
    set_: Set = None,
    sweep: Sweep = None,
    seeds: Seeds = None,
    plugin: Plugins = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="instead, what it costs: parameters, operations, prompts, disk, hours here"),
    ] = False,
    device: Device = "auto",
) -> None:
    """Print an experiment with every field, defaults included, as a file that makes the same runs. Or what they cost.

    What is printed can be written to a file, changed and run.
    """
    from icl_curriculum.cli import output
    from icl_curriculum.config import loading as experiment_files
    from icl_curriculum.config.option_values import parse_sweeps

    loaded = experiment_files.load_whole(
        name, overrides=set_ or [], seeds=parse_seeds(seeds), plugins=plugin or [], sweep=parse_sweeps(sweep or [])
    )
    if cost:
        from icl_curriculum.cli import costs
        from icl_curriculum.core.machine import resolve_device

        costs.show(loaded.runs, resolve_device(device))
        return
    from icl_curriculum.config.showing import shown_text

    if not flags.as_json():
        endings.echo(shown_text(loaded))
    variants = {run.variant: run for run in loaded.runs}
    output.put(
        configs=lambda: [{"variant": name, "config": run.experiment.resolved()} for name, run in variants.items()]
    )


@app.command()
def check(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            autocompletion=completion.checkable,
            help="a registered name, or a plugin file",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="every component there is")] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            autocompletion=completion.checked_kinds,
            help="only these: function_classes, inputs, observations, shifts, curricula, baselines, metrics, models, "
            "methods, launchers",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a parameter of it, e.g. degree=3")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Hold a component of any kind to the contract of its kind, rule by rule."""
    from icl_curriculum.cli import listing
    from icl_curriculum.testing import checking

    subjects = checking.subjects(name, everything=all_, kind=kind, overrides=set_ or [], plugins=plugin or [])
    if not listing.show_checks(subjects, every_rule=not all_):
        raise typer.Exit(1)


@app.command()
def verify(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION]...",
            help="only these: trivial_errors, denominators, banks, benchmark, oracles, baselines, published",
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="folder of results, whose runs stand beside published ones")
    ] = Path("results"),
) -> None:
    """Hold the suite to its golden numbers: moments of every class and shift, recorded banks, errors of oracles and
    baselines; and set trained models beside published ones of their size.
    """
    from icl_curriculum import verify
    from icl_curriculum.cli import verifying

    if not verifying.show(verify.chosen(sections or [], results), debug=endings.tracebacks()):
        raise typer.Exit(1)


@app.command()
def bench(
    sections: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION]...", help="only these: step, methods, quality, throughput, memory, growth"),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="quality: train the published recipe, too, which takes many minutes")
    ] = False,
    threads: Annotated[
        str | None, typer.Option(metavar="1,2", help="numbers of CPU threads; default: 1, and 2 where there are cores")
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N")] = "auto",
    rounds: Annotated[
        int, typer.Option(min=2, max=LARGEST, metavar="N", help="turns of every competitor; more give closer numbers")
    ] = 12,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="quality: a key of the fast recipe, e.g. training.steps=200"),
    ] = None,
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16"],
        typer.Option(help="step: of matrix products; tf32 on CUDA alone"),
    ] = "float32",
    compile_: Annotated[
        bool, typer.Option("--compile", help="step: with models that are compiled, too; on CUDA as graphs")
    ] = False,
    results: Results = Path("results"),
    record: Annotated[
        bool, typer.Option("--record", hidden=True, help="for maintainers: ship what --full finds")
    ] = False,
) -> None:
    """Measure speed: training steps beside Hugging Face's GPT-2, training methods, time to quality, throughput, memory,
    and what comparing many variants takes.

    Tables are printed and written to DIR/bench.
    """
    from icl_curriculum import bench
    from icl_curriculum.cli import measuring

    device = bench.usable_device(device)
    settings = bench.Settings(
        threads=parse_threads(threads) or bench.default_threads(device), device=device, rounds=rounds, full=full,
        overrides=tuple(set_ or ()), results=results, record=record, precision=precision, compiled=compile_,
    )  # fmt: skip
    measuring.show(bench.chosen(sections or [], settings), settings)


def main(*, in_its_own_process: bool = False) -> None:
    """Entry point of ``icl``. Whatever goes wrong is one message and an exit code, and a traceback with --debug.

    ``in_its_own_process``: whether it may say what the process does at a signal.
    """
    signals = None
    place = place_by_torchrun() if in_its_own_process else None
    if place is not None and place.follows:
        said = hush()
        from icl_curriculum.runs.following import follow_silently

        sys.exit(follow_silently(place, said=said))
    if in_its_own_process:
        signals = Signals(endings.hint)
        signals.listen()
    try:
        endings.end_with_a_message(_command_line if place is None else partial(_lead, place), signals=signals)
    except SystemExit as end:
        if place is not None:
            _end_among_others(end.code)
        raise


def _command_line() -> None:
    from icl_curriculum.cli.notices import notices_printed

    with named_as_on_the_command_line(), notices_printed():
        app()


def _end_among_others(code: object) -> None:
    """End at once where the others were left in the middle of an exchange, which is waited for otherwise."""
    from torch import distributed

    if distributed.is_initialized():
        os._exit(code if isinstance(code, int) else 1)


def _lead(place: Place) -> None:
    """The command line of the first process that torchrun has started; the others do what this one tells them."""
    from icl_curriculum.runs.leading import leading

    with leading(place=place):
        _command_line()
