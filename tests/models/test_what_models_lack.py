"""What a family cannot do is refused in one message that says why, and what can; the page on models says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ROOT
from tiny_runs import Icl, tiny_run, tiny_values

from icl_curriculum import heads
from icl_curriculum.config.experiment import Experiment
from icl_curriculum.config.loading import build, load
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import named_as_on_the_command_line
from icl_curriculum.core.registry import MODELS
from icl_curriculum.core.streams import Streams
from icl_curriculum.models import Capability, Model, ModelConfig, build_model
from icl_curriculum.models.capabilities import TWICE_DIFFERENTIABLE, WITH_HEADS
from icl_curriculum.models.heads import head_scores
from icl_curriculum.models.huggingface import HuggingFaceConfig
from icl_curriculum.runs.execution import directory_of, execute

PAGE = (ROOT / "docs/models.md").read_text(encoding="utf-8")
#: The columns of the page's table, with the abilities that they are of; the last one is of the queries.
COLUMNS = {
    "second derivatives (MAML)": Capability.SECOND_DERIVATIVES,
    "attention maps (`icl heads`)": Capability.ATTENTION,
    "head masks (`--mask`)": Capability.HEAD_MASK,
    "instruction tokens": Capability.INSTRUCTION,
    "vectors and classes": Capability.VECTOR_LABELS,
}
SMALL: dict[str, dict[str, Any]] = {
    "gru": {"name": "recurrent", "width": 8, "layers": 1},
    "state_space": {"name": "state_space", "width": 8, "layers": 1},
    "deep_sets": {"name": "deep_sets", "width": 8},
    "linear": {"width": 8, "layers": 1, "attention": "linear", "tokens": "alternate"},
    "looped": {"width": 8, "layers": 1, "loops": 2, "tokens": "alternate"},
    "huggingface": {"name": "huggingface", "fields": {"n_embd": 8, "n_layer": 1, "n_head": 2}},
}
NO_HEADS = {
    "gru": "recurrent has no attention heads",
    "state_space": "state_space has no attention heads",
    "deep_sets": "deep_sets has no attention heads",
    "linear": "the weights of linear attention sum to anything, so they are no attention maps",
    "looped": "each head of looped blocks attends anew in every loop, so it has no one map",
    "huggingface": "architectures of the library have attention heads in ways of their own",
}


def config_of(spec: str | dict[str, Any]) -> ModelConfig:
    spec = {"name": "transformer", **spec} if isinstance(spec, dict) else spec
    config = MODELS.build(spec)
    assert isinstance(config, ModelConfig)
    return config


def table() -> dict[str, dict[str, bool]]:
    """The rows of the page's table of abilities, by the line of TOML that they are of."""
    lines = PAGE[PAGE.index("| model | second") :].split("\n\n")[0].splitlines()
    header = [cell.strip() for cell in lines[0].split("|")[2:-1]]
    rows = {}
    for line in lines[2:]:
        name, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert set(cells) <= {"✓", "–"}
        rows[name.strip("`")] = {column: cell == "✓" for column, cell in zip(header, cells, strict=True)}
    return rows


def test_the_page_s_table_of_abilities_is_what_the_configs_say() -> None:
    rows = table()
    for line, said in rows.items():
        config = config_of(tomllib.loads(line)["model"])
        assert {column: said[column] for column in COLUMNS} == {
            column: config.lacks(capability) is None for column, capability in COLUMNS.items()
        }, line
        assert said["queries in one pass"] == config.takes_queries, line
        assert set(said) == {*COLUMNS, "queries in one pass"}
        assert config.lacks(Capability.EXPLICIT_PARAMETERS) is None
    families = {config_of(tomllib.loads(line)["model"]).name for line in rows}
    built_in = {name for name in MODELS.names() if MODELS.origin(name) == "built in"}
    assert families == built_in
    # Every family has a row of the first table, too.
    assert built_in <= set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


def test_what_reasons_name_as_able_is_able_and_nothing_else() -> None:
    able = {line for line, said in table().items() if said["second derivatives (MAML)"]}
    named = TWICE_DIFFERENTIABLE
    for line in able:
        config = config_of(tomllib.loads(line)["model"])
        assert config.name in named
        assert config.name != "transformer" or f'"{config.spec()["attention"]}"' in named
    assert "recurrent" not in named
    assert "huggingface" not in named
    for attention in ("fused", "plain"):
        config = config_of({"attention": attention})
        assert f'"{attention}"' in WITH_HEADS
        assert config.lacks(Capability.ATTENTION) is config.lacks(Capability.HEAD_MASK) is None


def built(family: str) -> Model:
    made = torch.Generator().manual_seed(0)
    return build_model(config_of(SMALL[family]), dims=2, points=5, generator=made, instruction=None)


@pytest.mark.parametrize("family", SMALL)
def test_heads_and_masks_are_refused_with_the_reason_and_what_has_them(family: str) -> None:
    model = built(family)
    task = next(iter(tiny_run().experiment.tasks().values()))
    prompts = task.draw(4, 5, Streams(0, "lacking", 0))
    asked = {
        "take a head mask": lambda: model.masked("1.1", prompts=prompts),
        "give its attention maps": lambda: head_scores(model, prompts),
    }
    for what, ask in asked.items():
        with pytest.raises(UserError) as caught:
            ask()
        assert str(caught.value) == f"{type(model).__name__} cannot {what}: {NO_HEADS[family]}; {WITH_HEADS}"


def test_what_a_run_of_a_gru_cannot_be_asked_is_one_message_on_the_command_line(icl: Icl, tmp_path: Path) -> None:
    changes = {"model": SMALL["gru"], "training.steps": 1, "evaluation.shifts": [], "evaluation.n_prompts": 4}
    run = tiny_run({**changes, "function_classes": ["linear"], "evaluation.baselines": ["zero"]})
    execute(run, tmp_path)
    folder = directory_of(run, tmp_path).path
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    reason = f"recurrent has no attention heads; {WITH_HEADS}"
    assert icl("evaluate", folder, "--mask", "1.1") == (2, "", f"error: Recurrent cannot take a head mask: {reason}\n")
    code, shown, told = icl("heads", folder)
    assert (code, shown) == (2, "")
    assert told == f"error: Recurrent cannot give its attention maps: {reason}\n"
    code, _, told = icl("evaluate", folder, "--instruction", "linear")
    assert (code, "was trained without instructions" in told) == (2, True)
    with pytest.raises(UserError, match="Recurrent cannot give its attention maps: recurrent has no attention heads"):
        heads(folder)
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "heads" not in path.parts}
    assert kept == written


def experiment(changes: dict[str, Any]) -> Experiment:
    return build(tiny_values(changes), source="my.toml")


MAML = {"training.method": {"name": "maml"}, "training.batch_size": 16}


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("gru", "torch's recurrent kernels have no second derivatives"),
        ("huggingface", "the library's fused kernels have no second derivatives"),
    ],
)
def test_maml_of_second_order_names_what_can_be_differentiated_twice(family: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        experiment({**MAML, "model": SMALL[family]})
    assert caught.value.key == "training.method"
    assert f"needs a model that can be differentiated twice, and {config_of(SMALL[family]).id!r} cannot" in str(
        caught.value
    )
    assert f"{reason}; {TWICE_DIFFERENTIABLE}" in str(caught.value)
    for able in ("state_space", "deep_sets", "linear"):
        experiment({**MAML, "model": {"name": "transformer", **SMALL[able]}})


LOADED: dict[str, tuple[list[str], str]] = {
    "heads of a GRU": (
        ["model=recurrent", "model.heads=2"],
        "--set model.heads=2: model.heads: unknown key; known: cell, initial, layers, width; transformer has it",
    ),
    "tokens of a GRU": (
        ["model.name=recurrent", "model.tokens=joint"],
        "--set model.tokens=joint: model.tokens: unknown key; known: cell, initial, layers, width; huggingface, "
        "transformer have it",
    ),
    "layers of deep sets": (
        ["model={name='deep_sets', layers=2}"],
        "--set model={name='deep_sets', layers=2}: model.layers: unknown key; did you mean 'encoder_layers'?; "
        "recurrent, state_space, transformer have it",
    ),
    "a field that none has": (
        ["model=recurrent", "model.depht=2"],
        "--set model.depht=2: model.depht: unknown key; known: cell, initial, layers, width",
    ),
    "a width of another table": (
        ["model=recurrent", "model.width=0"],
        "--set model.width=0: model.width: expected greater than or equal to 1, found 0",
    ),
    "no loops": (["model.loops=0"], "--set model.loops=0: model.loops: expected greater than or equal to 1, found 0"),
    "losses of more loops than there are": (
        ["model.loops=2", "model.loss_loops=3"],
        "--set model.loss_loops=3: model.loss_loops: 3 exceeds model.loops = 2",
    ),
    "a softmax that does not divide": (
        ["model.divide_by_keys=false"],
        "--set model.divide_by_keys=false: model.divide_by_keys: the softmax of fused attention divides by itself; "
        'only model.attention = "linear" can do without',
    ),
    "an unknown family": (["model=recurent"], "--set model=recurent: model: unknown model 'recurent'; did you mean "
                                              "'recurrent'?"),
    "an unknown cell": (
        ["model={name='recurrent', cell='rnn'}"],
        "--set model={name='recurrent', cell='rnn'}: model.cell: expected 'gru' or 'lstm', found 'rnn'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADED)
def test_fields_of_another_family_and_what_does_not_go_together(case: str) -> None:
    overrides, words = LOADED[case]
    with named_as_on_the_command_line(), pytest.raises(UserError) as caught:
        load("smoke", overrides=overrides)
    assert str(caught.value) == words


def test_an_architecture_of_billions_of_weights_is_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = {"n_embd": 8, "n_layer": 1, "n_head": 2}
    small = HuggingFaceConfig(architecture="GPT2Config", fields={**fields, "n_inner": 17})
    monkeypatch.setattr("icl_curriculum.models.huggingface.machine_memory", lambda: 1000.0)
    with pytest.raises(UserError) as caught:
        small.check(dims=2, points=5)
    assert caught.value.key == "model.fields"
    assert re.search(r"GPT2Config with these fields has [\d.]+ billion weights, and training takes 4 numbers for each, "
                     r"\d+ GB; this machine has 0 GB; say how large it is to be", str(caught.value))  # fmt: skip
    monkeypatch.undo()
    small.check(dims=2, points=5)


@pytest.mark.parametrize("text", ["llama", "llama-config", "LlamaConfg"])
def test_the_closest_architecture_is_found_by_other_names_of_it(text: str) -> None:
    with pytest.raises(UserError, match="did you mean 'LlamaConfig'") as caught:
        HuggingFaceConfig(architecture=text, fields={}).check(dims=2, points=5)
    assert caught.value.key == "model.architecture"
