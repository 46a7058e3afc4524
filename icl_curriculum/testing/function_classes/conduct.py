"""Rules on how sample and evaluate behave: no side effects, no hidden state, the right device, one function a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from icl_curriculum.function_classes.base import Parameters
from icl_curriculum.tasks import Task
from icl_curriculum.testing.devices import lies_away, pretended_accelerator
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, copied, doubled
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule


@rule("purity", "evaluate changes neither the parameters nor the inputs", requires=("shape",))
def purity(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        parameters, xs = subject.example(6, 5, dims)
        before, xs_before = copied(parameters), xs.clone()
        subject.evaluate(parameters, xs)
        changed = [name for name, value in before.items() if not value.equal(parameters.get(name, torch.empty(0)))]
        changed += [f"new entry {name}" for name in parameters.keys() - before.keys()]
        changed += [] if xs.equal(xs_before) else ["xs"]
        if changed:
            yield Finding(
                expected="parameters and xs as they were before evaluate",
                found=f"evaluate changed {', '.join(changed)} at d = {dims}",
                mend="no in-place operations (names ending in _, +=, assignments to slices) on what is passed in; "
                "work on xs.clone()",
            )
            return


@rule("global generators", "no draw from, and no seeding of, the generators that all code shares", requires=("shape",))
def global_generators(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    function_class, dims = subject.function_class, subject.most_dims
    parameters, xs = subject.example(4, 5, dims)

    def oracle() -> None:
        known = [(at, noise) for at in subject.dims for noise, kind in subject.oracles(at).items() if kind is not None]
        if known:
            at, noise = known[-1]
            task = Task(function_class, subject.inputs(at), at, noise)
            prompts = task.draw(4, 5, subject.streams("global generators"))
            subject.doing = "oracle"
            function_class.oracle(prompts)

    calls: dict[str, Callable[[], object]] = {
        "sample": lambda: subject.sample(4, dims, subject.generator("global generators")),
        "evaluate": lambda: subject.evaluate(parameters, xs),
        "draw": lambda: subject.draw(4, 5, dims, subject.streams("global generators")),
        "oracle": oracle,
    }
    touched: dict[str, list[str]] = {}
    for name, call in calls.items():
        with watched_generators() as used:
            try:
                call()
            except Exception:
                if name not in ("draw", "oracle"):  # These have rules of their own.
                    raise
            for library in used():
                touched.setdefault(library, []).append(name)
    for library, methods in touched.items():
        yield Finding(
            expected="all randomness from the generator passed to sample, or from the streams passed to draw",
            found=f"{library}'s global generator changed during {' and '.join(methods)}: numbers were drawn, or it "
            "was seeded",
            mend="pass generator=generator (and device=generator.device) to every torch draw; numpy and Python: seed a "
            "local generator from torch.randint(..., generator=generator); evaluate draws nothing",
        )


@rule(
    "determinism",
    "equal generators give equal functions, and evaluate gives the same values twice, bit by bit",
    requires=("purity", "global generators", "dtype"),
)
def determinism(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        first = copied(subject.sample(6, dims, subject.generator("determinism")))
        subject.sample(6, dims, subject.generator("determinism", 1))
        second = subject.sample(6, dims, subject.generator("determinism"))
        unequal = [name for name, value in first.items() if not value.equal(second[name])]
        if unequal:
            yield Finding(
                expected="bit-equal parameters from equal generators, whatever was drawn in between",
                found=f"{', '.join(map(repr, unequal))} differ between two calls of sample at n = 6, d = {dims}",
                mend="keep no state between calls (counters, caches, generators of the class's own), and seed nothing "
                "from the clock or the operating system",
            )
            return
        parameters, xs = subject.example(6, 5, dims)
        values = subject.evaluate(parameters, xs).clone()
        subject.evaluate(*subject.example(6, 5, dims, index=1))
        again = subject.evaluate(parameters, xs)
        if not values.equal(again):
            yield Finding(
                expected="bit-equal values from evaluate for equal arguments",
                found=f"values that differ by up to {_off(values, again):.3g} between two calls at d = {dims}",
                mend="make evaluate a function of its arguments and the fields alone; whatever is random is drawn in "
                "sample and kept in the parameters",
            )
            return


def _off(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@rule("device", "everything is made on the device of the generator, or of the inputs", requires=("shape",))
def device(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Checked on an accelerator if there is one, and always with `pretended_accelerator`."""
    for dims in subject.dims:
        parameters, xs = subject.example(6, 5, dims)
        calls: dict[str, tuple[Callable[[], object], str]] = {
            "sample": (partial(subject.sample, 6, dims, subject.generator("device")), "generator.device"),
            "evaluate": (partial(subject.evaluate, parameters, xs), "xs.device"),
        }
        for name, (call, wanted) in calls.items():
            problem = None
            with pretended_accelerator(subject) as mode:
                try:
                    made = call()
                except Exception as error:
                    problem = f"{type(error).__name__}: {error} ({subject.where_raised(error)})"
                else:
                    tensors = made.items() if isinstance(made, dict) else [("values", made)]
                    stay = [key for key, value in tensors if isinstance(value, Tensor) and lies_away(value)]
                    if stay:
                        problem = f"{', '.join(map(repr, stay))} would stay on the CPU"
            if problem is not None:
                made_away = f"; made without a device: {'; '.join(mode.forgotten)}" if mode.forgotten else ""
                yield Finding(
                    expected=f"in {name}, every tensor on {wanted} (tried with an accelerator that is pretended on the "
                    "CPU)",
                    found=f"at d = {dims}: {problem}{made_away}",
                    mend=f"pass device={wanted} to every factory (torch.zeros, torch.arange, ...), and write "
                    f".to({wanted}) after torch.from_numpy and for constants",
                )
                return
    yield from _real_accelerator(subject)


def _real_accelerator(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    if not torch.accelerator.is_available():
        return
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    made = torch.Generator(device=kind).manual_seed(0)
    parameters = subject.sample(6, subject.most_dims, made)
    xs = subject.inputs(subject.most_dims).sample(6, 5, subject.most_dims, made)
    values = subject.evaluate(parameters, xs)
    found = {**{f"{name!r} from sample": value for name, value in parameters.items()}, "values": values}
    stay = [f"{name} on {value.device}" for name, value in found.items() if value.device.type != kind.type]
    if stay:
        yield Finding(
            expected=f"every tensor on {kind}, where the generator and the inputs are",
            found="; ".join(stay),
            mend="pass device=generator.device in sample and device=xs.device in evaluate to every factory",
        )


@rule(
    "one function per prompt",
    "a value depends on its own function and input alone, not on the rest of the batch",
    requires=("dtype", "determinism"),
)
def one_function_per_prompt(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Checked in float64, where rounding by another order of summation is far smaller than a dependence would be."""
    n, points = 6, 7
    for dims in subject.dims:
        parameters, xs = subject.example(n, points, dims)
        parameters, xs = doubled(parameters), xs.double()
        values = subject.evaluate(parameters, xs)

        def row(i: int, given: Parameters = parameters, at: Tensor = xs) -> Tensor:
            alone = {name: value[i : i + 1] for name, value in given.items()}
            return subject.evaluate(alone, at[i : i + 1])

        order = torch.arange(points - 1, -1, -1)
        others = {"the prompts one by one": (torch.cat([row(i) for i in range(n)]), values)}
        first = (subject.evaluate(parameters, xs[:, :3]), values[:, :3])
        if not subject.function_class.has_memory:
            others |= {
                "the points in reverse order": (subject.evaluate(parameters, xs[:, order]), values[:, order]),
                "the first 3 points alone": first,
            }
        for how, (found, expected) in others.items():
            off = _off(found, expected)
            if _unlike(found, expected):
                about = "row i of the parameters and of xs" if "prompts" in how else "its own input point"
                yield Finding(
                    expected=f"the same values for {how} as for the whole batch: a value follows from {about}",
                    found=f"values that differ by up to {off:.3g} at n = {n}, points = {points}, d = {dims}",
                    mend="in evaluate, take no mean, norm, maximum or sort over the prompts or the points; "
                    "f is one function of one input"
                    + (
                        "; or declare has_memory: ClassVar[bool] = True, if a value depends on earlier inputs of its "
                        "prompt"
                        if "prompts" not in how and not _unlike(*first)
                        else ""
                    ),
                )
                return
    if subject.function_class.has_memory:
        yield Note(
            "not tested: that a value follows from its own input alone, because the class declares has_memory; the "
            "rule 'memory' tests that it follows from no later one"
        )


def _unlike(found: Tensor, expected: Tensor) -> bool:
    """Whether values differ by more than rounding in float64."""
    return _off(found, expected) > 1e-6 * float(expected.abs().max()) + 1e-12


@rule(
    "memory",
    "where has_memory, a value depends on earlier inputs of its prompt and on no later one",
    requires=("one function per prompt",),
)
def memory(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Compares values in float64 with those after other inputs follow, and of prompts that are cut short."""
    if not subject.function_class.has_memory:
        raise Inapplicable("has_memory is False")
    n, points, remembers = 6, 7, False
    for dims in subject.dims:
        parameters, xs = subject.example(n, points, dims)
        parameters, xs = doubled(parameters), xs.double()
        others = subject.example(n, points, dims, index=1)[1].double()
        values = subject.evaluate(parameters, xs)
        for k in range(1, points):
            followed = subject.evaluate(parameters, torch.cat([xs[:, :k], others[:, k:]], dim=1))[:, :k]
            for how, found in (
                (f"when the inputs from point {k} on are others", followed),
                (f"of prompts of {k} points alone", subject.evaluate(parameters, xs[:, :k])),
            ):
                if _unlike(found, values[:, :k]):
                    yield Finding(
                        expected=f"the same values of the first {k} points {how}: a value follows from the inputs up "
                        "to its own",
                        found=f"values that differ by up to {_off(found, values[:, :k]):.3g} at d = {dims}",
                        mend="let evaluate look back alone: cumsum over the points, not mean, flip or normalisation "
                        "over all of them",
                    )
                    return
            behind = subject.evaluate(parameters, torch.cat([others[:, :k], xs[:, k:]], dim=1))[:, k:]
            remembers |= _unlike(behind, values[:, k:])
    if not remembers:
        yield Finding(
            expected="a value that depends on an earlier input of its prompt, as has_memory is True",
            found=f"none in {n} prompts of {points} points, whatever earlier inputs are",
            mend="leave has_memory False, without which more is tested and queries apart from the context are defined; "
            "where it depends on a field, let it be a property",
        )
