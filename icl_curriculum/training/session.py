"""The session that a training method works in during one update: model, optimizers, and prompts for the asking.

Dimensions: n = prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from icl_curriculum.core.contracts import broken_contract
from icl_curriculum.core.errors import did_you_mean
from icl_curriculum.core.machine import arithmetic
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import is_built_in
from icl_curriculum.core.steps import unrolled
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.core.transfers import free_to_look
from icl_curriculum.curricula import CurriculumPlan, Shares
from icl_curriculum.models.base import Model
from icl_curriculum.tasks import Task
from icl_curriculum.training.balance import BALANCE, N_PROMPTS, Balance
from icl_curriculum.training.counting import Counting
from icl_curriculum.training.fixed_prompts import FixedPrompts
from icl_curriculum.training.optimizers import Optimizers
from icl_curriculum.training.shards import WHOLE, Shards

#: A function class and an input distribution, by the ids that the tables show.
Cell = tuple[str, str]
#: The role of the prompts that plain training draws.
TRAINING = "training"
#: How often prompts are drawn before it is said that nothing of them ever counts.
_MOST_DRAWS = 1000
#: First parts of the names of streams that are no training method's.
_RESERVED = (
    "curriculum",
    "initialization",
    "evaluation",
    "learning",
    "method",
    "pool",
    "denominator",
    "verify",
    "fixed",
    "adaptation",
    "heads",
    "probe",
    "lengths",
    BALANCE,
)


@dataclass(frozen=True)
class Portion:
    """The prompts of one cell in a batch, and the weight of their errors in the loss (`Session.weight`)."""

    cell: Cell
    prompts: Prompts
    weight: float


@dataclass(frozen=True)
class Draw:
    """One draw: ``n_prompts`` prompts of ``points`` points of a cell, under a role; ``counting`` of them count.

    A point is a pair, with all its reasoning steps; the model reads ``read_points`` positions.
    """

    role: str
    cell: Cell
    n_prompts: int
    points: int
    counting: int
    read_points: int


@dataclass(frozen=True)
class Setting:
    """The part of a session that is the same for all updates of a run.

    ``tasks``: by cell, in the order of the config. ``stream_names``: the name in the streams of each cell.
    ``weights``: of a cell's errors in the loss. ``per_prompt``: whether a class is drawn for every prompt, or
    one for the whole batch. ``fixed``: the prompts that training goes through again and again, if it does.
    ``counting``: which of their positions count; ``balance``: the errors by which these are balanced, if they are.
    """

    seed: int
    steps: int
    batch_size: int
    plan: CurriculumPlan
    tasks: Mapping[Cell, Task]
    stream_names: Mapping[Cell, str]
    weights: Mapping[Cell, float]
    per_prompt: bool
    device: str
    fixed: FixedPrompts | None = None
    counting: Counting = field(default_factory=Counting)
    balance: Balance | None = None


class Session:
    """One update in the making.

    The trainer makes it. It draws prompts (`batch`, or `choose` and `draw`), moves the weights (`step_optimizers`), and
    holds the method's ``state``. Whatever it draws is a function of the run's seed, the role, the cell, the step, and
    how many draws of that role and cell the update has made before; not of what was drawn otherwise.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        model: Model,
        optimizers: Optimizers,
        step: int,
        shares: Shares,
        rate_factor: float,
        state: dict[str, Any],
        shards: Shards = WHOLE,
    ) -> None:
        #: The model in training, with its parameters before this update.
        self.model = model
        #: Its optimizers, which `step_optimizers` drives.
        self.optimizers = optimizers
        #: The number of updates before this one: 0 at the first, ``steps`` - 1 at the last.
        self.step = step
        #: The shares that the curriculum gives at this step to classes and input distributions, and the prompts' size.
        self.shares = shares
        #: The factor of the learning-rate schedule at this step, from 0 to 1.
        self.rate_factor = rate_factor
        #: The method's memory between updates, to be changed in place or key by key.
        self.state = state
        #: The shards of the update, ``training.shards``, by which a method computes gradients that can be divided.
        self.shards = shards
        #: A list to which copies of all prompts are added that are drawn, if it is set.
        self.kept_prompts: list[Prompts] | None = None
        self._drawn: list[Draw] = []
        self._measured: Counter[Cell] = Counter()
        self._setting = setting
        self._functions: dict[tuple[str, Cell], _Functions] = {}
        self._counts: Counter[str] = Counter()
        self._taken: Counter[tuple[Cell, int]] = Counter()

    @property
    def steps(self) -> int:
        """The number of updates of the whole run."""
        return self._setting.steps

    @property
    def drawn(self) -> tuple[Draw, ...]:
        """The draws of this update so far, in order."""
        return tuple(self._drawn)

    @property
    def measured(self) -> Mapping[Cell, int]:
        """The prompts of each cell that errors by position were measured on."""
        return self._measured

    @property
    def batch_size(self) -> int:
        """The prompts of an update that the experiment asks for, ``training.batch_size``."""
        return self._setting.batch_size

    @property
    def read_per_point(self) -> int:
        """The positions of each pair of a prompt: S + 1 with S reasoning steps, 1 without."""
        return 1 + next(iter(self._setting.tasks.values())).function_class.shown_steps

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells of the experiment, in its order, whatever their shares at this step."""
        return tuple(self._setting.tasks)

    def weight(self, cell: Cell) -> float:
        """The weight of a cell's errors in the loss: 1, or 1 / those of predicting zero (``training.loss``)."""
        return self._setting.weights[self._known(cell)]

    def choose(self, n: int, *, role: str = TRAINING) -> list[Cell]:
        """``n`` cells drawn independently, with replacement, with the curriculum's shares of this step.

        Cells alone: `draw` then gives prompts of each. A second call under one role in an update draws anew.
        """
        made = self._curriculum_generator(role)
        classes = _draw_ids(self.shares.function_classes, n, made)
        inputs = _draw_ids(self.shares.inputs, n, made)
        return list(zip(classes, inputs, strict=True))

    def batch(self, n: int | None = None, *, role: str = TRAINING) -> list[Portion]:
        """``n`` prompts (``batch_size``, if not given) with the curriculum's shares, a portion for each cell drawn.

        All of one cell, or a cell drawn for every prompt, as ``curriculum.draw`` says. Portions come in the order of
        the experiment's cells, and `add_gradients` takes them as they are.
        """
        size = self.batch_size if n is None else n
        chosen = Counter(self.choose(size if self._setting.per_prompt else 1, role=role))
        # In the order of the config, not of the draw, so that equal counts give equal batches.
        sizes = {cell: chosen[cell] if self._setting.per_prompt else size for cell in self.cells if chosen[cell]}
        return [Portion(cell, self.draw(cell, n, role=role), self.weight(cell)) for cell, n in sizes.items()]

    def draw(
        self,
        cell: Cell,
        n: int,
        *,
        role: str = TRAINING,
        prompts_per_function: int = 1,
        functions_of: str | None = None,
        points: int | None = None,
        of_step: int | None = None,
    ) -> Prompts:
        """``n`` prompts of a cell, on the model's device, from the streams of a role.

        The prompts are plain, without separate queries: ``xs`` (n, points, dims), ``ys`` and ``targets`` (n, points),
        or with an axis of labels, and ``instruction`` (n) where the model reads one. Where positions don't all count
        they have a ``mask``, ``loss_weights`` or both, which `prompt_errors` honours. Reasoning steps, for classes that
        show some, are positions of their own (`core.steps.unrolled`): then they are prompts of points times S + 1
        positions, of which every step and every answer is to be predicted.

        ``role``: a name of small letters, digits and _, of
        the method's own. ``prompts_per_function``: so many prompts one after another have the same function, each with
        inputs and noise of its own. ``functions_of``: the role whose latest draw of this cell the functions are taken
        from, as many as there and in their order; fresh ones if not given. ``points``: examples and a query, by default
        what the curriculum says at this step; prompts are drawn whole and then cut. ``of_step``: the step whose streams
        are used, by default this one: ``of_step = step % 100`` goes round a fixed set of prompts again and again, of
        the size that the curriculum says now.

        If nothing counts in any of the prompts, others are drawn, from streams of their own, or the next fixed ones.

        With ``training.fixed_prompts`` the prompts are some of the cell's fixed ones, in an order of the update's own.
        No two draws that are the first of their roles have one in common, nor have the second ones, until all of them
        were taken: support and query prompts of one task differ.

        Raises ValueError for numbers that don't fit and for a role that is the name of other streams, KeyError for a
        cell that the experiment doesn't have, ComponentFailed for a function class that makes its functions otherwise
        than by `FunctionClass.draw_functions` where they are to be shared.
        """
        task = self._setting.tasks[self._known(cell)]
        plan = self._setting.plan
        points = self.shares.points if points is None else points
        if n < 1 or prompts_per_function < 1 or n % prompts_per_function:
            raise ValueError(f"n = {n} is no multiple of prompts_per_function = {prompts_per_function}, or less than 1")
        if not 1 <= points <= plan.points:
            raise ValueError(f"points = {points}: expected 1 to {plan.points}, the experiment's own number")
        step = self.step if of_step is None else of_step
        if not 0 <= step < self.steps:
            raise ValueError(f"of_step = {of_step}: expected 0 to {self.steps - 1}, a step of this run")
        number = self._counts[f"{role}/{self._setting.stream_names[cell]}"]
        name = self._stream(role, self._setting.stream_names[cell])
        if self._setting.fixed is not None:
            if prompts_per_function > 1 or functions_of is not None:
                raise ValueError("training.fixed_prompts: a fixed set has one prompt of every function")
            for again in range(_MOST_DRAWS):
                prompts = self._setting.fixed.taken(
                    cell, n, step, number, self._taken[cell, number], active_dims=self._active_dims()
                )
                self._taken[cell, number] += n
                found, counting = self._given(cell, _again(name, again), step, points, prompts)
                if self._note(role, cell, points, found, counting):
                    return found
            return self._nothing_counts(cell, "any of the fixed prompts")
        source, n_functions = (name, step), n // prompts_per_function
        shared = None if functions_of is None else self._functions_of(functions_of, cell)
        if shared is not None:
            source = shared.source
            if shared.n != n_functions:
                raise ValueError(
                    f"n / prompts_per_function = {n_functions} functions, and {functions_of!r} drew {shared.n}"
                )
        # Where none of the prompts counts there is nothing to learn from them, and others are drawn.
        for again in range(_MOST_DRAWS):
            own = _again(name, again)
            if shared is None:
                source = (own, step)
            streams = Streams(
                self._setting.seed, own, step, self._setting.device,
                functions_from=source, prompts_per_function=prompts_per_function,
            )  # fmt: skip
            # Prompts are exact whatever the precision of training.
            with arithmetic("float32", self._setting.device):
                prompts = task.draw(n, plan.points, streams, active_dims=self._active_dims())
            truth = prompts.truth or {}
            different = {name: value[::prompts_per_function] for name, value in truth.items()}
            if prompts_per_function > 1 or shared is not None:
                wanted = different if shared is None else shared.truth
                _expect_functions(task, truth, wanted, prompts_per_function)
            found, counting = self._given(cell, own, step, points, prompts)
            if self._note(role, cell, points, found, counting):
                self._functions[role, cell] = _Functions(source, n_functions, different)
                return found
        return self._nothing_counts(cell, f"{_MOST_DRAWS} draws of {n} prompt{'s' * (n > 1)}")

    def balance_positions(self) -> None:
        """Measure errors by position where it is time, if ``training.positions`` asks that they be balanced.

        On prompts of streams of their own, fresh or some of the fixed ones, that are drawn whole.
        """
        balance, offered = self._setting.balance, self.shares.offered()
        if balance is not None:
            cells = [cell for cell in self.cells if cell in offered]
            measured = balance.measure(self.model, cells, self.step, self._to_measure, self.read_per_point)
            self._measured.update(dict.fromkeys(measured, N_PROMPTS))

    def _to_measure(self, cell: Cell) -> Prompts:
        setting = self._setting
        if setting.fixed is not None:
            prompts = setting.fixed.taken(cell, N_PROMPTS, 0, 0, 0, active_dims=self._active_dims())
        else:
            name = f"{BALANCE}/{setting.stream_names[cell]}"
            streams = Streams(setting.seed, name, self.step, setting.device)
            with arithmetic("float32", setting.device):
                task = setting.tasks[cell]
                prompts = task.draw(N_PROMPTS, setting.plan.points, streams, active_dims=self._active_dims())
        return unrolled(self._told(prompts))

    def _told(self, prompts: Prompts) -> Prompts:
        """The prompts with the instruction that the model reads, if it reads one."""
        told = self.model.instruction
        return prompts if told is None else replace(prompts, instruction=told.rows(prompts))

    def _active_dims(self) -> int | None:
        """The coordinates that are not zero at this step, where they are not all."""
        return None if self.shares.dims == self._setting.plan.dims else self.shares.dims

    def _given(self, cell: Cell, name: str, step: int, points: int, prompts: Prompts) -> tuple[Prompts, int]:
        """Whole prompts as the method gets them: with their instruction, of so many points, weighed and unrolled.

        And how many of them count. ``name``, ``step``: those of their streams.
        """
        prompts = self._told(prompts)
        given = prompts if points == self._setting.plan.points else prompts.first_points(points)
        counting = self._setting.counting
        lengths = None
        if counting.shortest is not None:
            lengths = generator(self._setting.seed, f"lengths/{name}", step)
        # What counts is said of pairs, which share it with their steps.
        balance = None if self._setting.balance is None else self._setting.balance.weights(cell, points)
        weighed, counted = counting.weighed(given, lengths, balance)
        return unrolled(weighed), counted

    def _note(self, role: str, cell: Cell, points: int, given: Prompts, counted: int) -> bool:
        """Note a draw, of which so many prompts count, unless nothing does; whether anything does."""
        if counted:
            self._drawn.append(Draw(role, cell, len(given), points, counted, given.points))
            if self.kept_prompts is not None:
                self.kept_prompts.append(given.copy())
        return counted > 0

    def _nothing_counts(self, cell: Cell, of: str) -> NoReturn:
        raise broken_contract(
            self._setting.tasks[cell].function_class, "counts", found=f"nothing that counts in the loss in {of}",
            expected="values that count more often than that",
        )  # fmt: skip

    def generator(self, name: str, device: str | torch.device = "cpu") -> torch.Generator:
        """A fresh generator for random numbers of the method's own, a function of the seed, the name and the step.

        One name gives the same numbers at every call of an update.
        """
        return generator(self._setting.seed, f"method/{name}", self.step, device)

    def step_optimizers(self) -> None:
        """Clip the gradients in ``.grad`` as ``training.clip`` says, move the parameters, and clear the gradients.

        All optimizers move at this step's rates, their peaks times ``rate_factor``.
        """
        self.optimizers.step(self.rate_factor)

    def _known(self, cell: Cell) -> Cell:
        if cell not in self._setting.tasks:
            known = ["/".join(each) for each in self._setting.tasks]
            raise KeyError(f"no cell {'/'.join(map(str, cell))!r}{did_you_mean('/'.join(map(str, cell)), known)}")
        return cell

    def _functions_of(self, role: str, cell: Cell) -> _Functions:
        if (role, cell) not in self._functions:
            raise ValueError(f"functions_of = {role!r}: nothing of {'/'.join(cell)} was drawn under that role before")
        return self._functions[role, cell]

    def _curriculum_generator(self, role: str) -> torch.Generator:
        """The generator that decides which cells are drawn: the stream (seed, "curriculum", step) of plain training."""
        name = self._stream(role, "")
        plain = "curriculum" if name == TRAINING else f"curriculum/{name}"
        return generator(self._setting.seed, plain, self.step)

    def _stream(self, role: str, rest: str) -> str:
        """The name of the next stream of a role: ``support/linear/gaussian``, then ``support#1/linear/gaussian``."""
        if not re.fullmatch("[a-z][a-z0-9_]*", role) or role in _RESERVED:
            raise ValueError(
                f"role {role!r}: expected small letters, digits and _, and none of {', '.join(_RESERVED)}, which name "
                f"other streams"
            )
        number = self._counts[f"{role}/{rest}"]
        self._counts[f"{role}/{rest}"] += 1
        first = f"{role}#{number}" if number else role
        return f"{first}/{rest}" if rest else first


def _again(name: str, number: int) -> str:
    """The name of the streams of a draw that is made for the ``number``-th time anew."""
    return f"{name}+{number}" if number else name


@dataclass(frozen=True)
class _Functions:
    """The functions of a draw: name and step of their streams, how many there are, and their parameters."""

    source: tuple[str, int]
    n: int
    truth: Mapping[str, Tensor]


def _expect_functions(
    task: Task, truth: Mapping[str, Tensor], wanted: Mapping[str, Tensor], prompts_per_function: int
) -> None:
    """ComponentFailed unless prompts have these functions, each so many times one after another.

    Those of the package's own classes are believed where the program would have to wait for their numbers.
    """
    if is_built_in(type(task.function_class)) and not all(map(free_to_look, truth.values())):
        return
    for name, value in wanted.items():
        if not torch.equal(truth[name], value.repeat_interleave(prompts_per_function, dim=0)):
            raise broken_contract(
                task.function_class,
                "draw",
                found=f"other functions than asked for (their {name!r} differs)",
                expected="functions from self.draw_functions(n, dims, streams), which lets prompts share them",
            )


def _draw_ids(shares: Mapping[str, float], n: int, made: torch.Generator) -> list[str]:
    ids = list(shares)
    weights = torch.tensor(list(shares.values()), dtype=torch.float64)
    drawn: Tensor = torch.multinomial(weights, n, replacement=True, generator=made)
    return [ids[i] for i in drawn.tolist()]
