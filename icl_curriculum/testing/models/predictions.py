"""Rules on what a model predicts: shapes, what an entry may depend on, and predictions that repeat.

Dimensions: batch = prompts, points = K + 1 (entry k has k examples before it), dims = d.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Model
from icl_curriculum.testing.devices import lies_away, pretended_accelerator
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, differ, off
from icl_curriculum.testing.rules import Finding, Note, rule

#: Prompts of more points than this are not tried: a model may allow any number.
LONGEST = 256


@rule("shape", "forward gives (batch, points), for one prompt and more, of every length", requires=("build",))
def shape(subject: ModelSubject) -> Iterator[Finding | Note]:
    for dims, points in subject.sizes:
        model = subject.built(dims, points)
        for batch, length in ((BATCH, points), (1, points), (BATCH, 2), (BATCH, 1), (1, 1)):
            xs, ys, queries = subject.prompts(dims, length, batch=batch)
            for separate in (None, queries):
                finding = unlike_predictions(subject.ask(model, xs, ys, separate), batch, length, subject.doing)
                if finding is not None:
                    yield finding
                    return


def unlike_predictions(found: object, batch: int, points: int, doing: str) -> Finding | None:
    if not isinstance(found, Tensor) or found.shape != (batch, points):
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        return Finding(
            expected=f"(batch, points) = ({batch}, {points}) from {doing}",
            found=got,
            mend="return one prediction for every entry of every prompt; keep both axes where one is 1 (squeeze(-1), "
            "not squeeze()), and read the number of points from xs, not from what the model was built for",
        )
    if found.dtype != torch.float32 or not bool(found.isfinite().all()):
        unbounded = int((~found.isfinite()).sum())
        got = f"{unbounded} of {found.numel()} predictions infinite or NaN" if unbounded else f"{found.dtype}"
        return Finding(
            expected=f"finite predictions in torch.float32 from {doing}",
            found=got,
            mend="entry 0 has no example before it: divide by the number of examples only where there are some, and "
            "let no softmax run over nothing; make constants like the inputs (xs.new_zeros(...))",
        )
    return None


@rule("device", "everything lies where the inputs do, once the model was moved there", requires=("shape",))
def device(subject: ModelSubject) -> Iterator[Finding | Note]:
    """Looks on a pretended accelerator, and on a real one where there is one."""
    dims, points = subject.size
    model = subject.built(dims, points)
    xs, ys, queries = subject.prompts(dims, points)
    for separate in (None, queries):
        finding = misplaced(subject, model, separate)
        if finding is not None:
            yield finding
            return
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None:
        moved = model.to(accelerator)
        subject.ask(moved, xs.to(accelerator), ys.to(accelerator))
        subject.ask(moved, xs.to(accelerator), ys.to(accelerator), queries.to(accelerator))


def misplaced(
    subject: ModelSubject, model: Model, queries: Tensor | None, rows: Tensor | None = None
) -> Finding | None:
    """What lies on the CPU while the inputs lie on a pretended accelerator, if anything does."""
    xs, ys, _ = subject.prompts(*subject.size)
    # Parameters and buffers move with the model, and these don't.
    stay = [value for part in model.modules() for value in vars(part).values()]
    problem = None
    with torch.no_grad(), pretended_accelerator(subject, stay) as mode:
        try:
            found = subject.ask(model, xs, ys, queries, rows)
        except Exception as error:
            problem = f"{type(error).__name__}: {error} ({subject.where_raised(error)})"
        else:
            problem = "the predictions would stay on the CPU" if lies_away(found) else None
    if problem is None:
        return None
    made_away = f"; made without a device: {'; '.join(mode.forgotten)}" if mode.forgotten else ""
    return Finding(
        expected=f"every tensor on xs.device in {subject.doing} (tried with an accelerator that is pretended on the "
        "CPU)",
        found=f"{problem}{made_away}",
        mend="pass device=xs.device to every factory (torch.zeros, torch.arange, ...), and keep constant tensors in "
        "register_buffer(...), which moves them with the model",
    )


@rule("longest prompt", "prompts of up to longest_prompt points are read, longer ones refused", requires=("shape",))
def longest_prompt(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    model = subject.built(dims, points)
    finding = cut_short(subject, model)
    if finding is not None:
        yield finding
        return
    if model.max_points >= LONGEST:
        yield Note(f"max_points = {model.max_points}: prompts of more than {LONGEST} points were not tried")
        return
    xs, ys, _ = subject.prompts(dims, model.max_points + 1, batch=1)
    try:
        subject.ask(model, xs, ys)
    except ValueError:
        return
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    else:
        found = "predictions"
    yield Finding(
        expected=f"ValueError from forward of {model.max_points + 1} points, as max_points = {model.max_points}",
        found=found,
        mend="raise ValueError where xs.shape[1] > self.max_points, or raise max_points to what forward can read",
    )


def cut_short(subject: ModelSubject, model: Model, rows: Tensor | None = None) -> Finding | None:
    """What is wrong with the predictions of the longest prompt that the config promises, if anything is."""
    dims, points = subject.size
    length = min(subject.as_given.longest_prompt(points), LONGEST)
    xs, ys, queries = subject.prompts(dims, length, batch=1)
    for separate in (None, queries):
        finding = unlike_predictions(subject.ask(model, xs, ys, separate, rows), 1, length, subject.doing)
        if finding is not None:
            return finding
    return None


@rule("global generators", "forward, backward, predict and prepare use no generator that all code shares",
      requires=("shape",))  # fmt: skip
def global_generators(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    model = subject.built(dims, points)
    xs, ys, queries = subject.prompts(dims, points)
    calls: dict[str, Callable[[], object]] = {
        "prepare": model.prepare,
        "forward": lambda: model(xs, ys),
        "forward with separate queries": lambda: model.answer(xs, ys, queries),
        "backward": lambda: model.backward(xs, ys, ys, torch.ones(BATCH)),
        "predict": lambda: model.predict(Prompts(xs=xs, ys=ys, targets=ys)),
    }
    touched: dict[str, list[str]] = {}
    for name, call in calls.items():
        subject.doing = name
        with watched_generators() as used:
            call()
            for library in used():
                touched.setdefault(library, []).append(name)
    for library, methods in touched.items():
        yield Finding(
            expected="no random numbers but those of build",
            found=f"{library}'s global generator changed during {' and '.join(methods)}",
            mend="leave out dropout and the like: results must repeat, and every prompt is seen only once",
        )


@rule("determinism", "equal prompts give equal predictions, bit by bit, in training and evaluation mode",
      requires=("global generators",))  # fmt: skip
def determinism(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    model = subject.stirred()
    xs, ys, queries = subject.prompts(dims, points)
    others = subject.prompts(dims, points, index=1)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for separate in (None, queries):
            first = subject.ask(model, xs, ys, separate).clone()
            subject.ask(model, others[0], others[1], None if separate is None else others[2])
            again = subject.ask(model, xs, ys, separate)
            evaluating = subject.ask(model.eval(), xs, ys, separate)
            model.train()
            if not first.equal(again):
                yield Finding(
                    expected="bit-equal predictions for equal prompts, whatever the model was asked in between",
                    found=f"predictions that differ by up to {off(again, first):.3g}",
                    mend="keep nothing of one call for the next: no caches, counters or running statistics",
                )
                return
            if differ(evaluating, first):
                yield Finding(
                    expected="the same predictions in evaluation mode as in training mode, which a run never leaves",
                    found=f"predictions that differ by up to {off(evaluating, first):.3g}",
                    mend="leave out what model.eval() switches, such as dropout and batch normalisation",
                )
                return
    changed = [name for name, value in model.state_dict().items() if not value.equal(kept[name])]
    if changed:
        yield Finding(
            expected="parameters and buffers as they were before forward",
            found=f"forward changed {', '.join(map(repr, changed))}",
            mend="keep no running statistics in buffers, and assign to no parameter in forward",
        )


@rule("causality", "entry k follows from the first k pairs and query k alone", requires=("determinism",))
def causality(subject: ModelSubject) -> Iterator[Finding | Note]:
    """Every label, input and query is changed in turn; entries that may not know of it must stay as they are."""
    dims, points = subject.size
    model = subject.stirred()
    xs, ys, queries = subject.prompts(dims, points)
    other_xs, other_ys, other_queries = subject.prompts(dims, points, index=1)
    seen_labels, own = False, None
    with torch.no_grad():
        for separate in (None, queries):
            usual = subject.ask(model, xs, ys, separate)
            how = "without separate queries" if separate is None else "with separate queries"

            def found(j: int, what: str, separate: Tensor | None = separate) -> Tensor:
                given = {"label": ys, "input": xs, "query": separate}
                changed = given[what]
                assert changed is not None
                changed = changed.clone()
                changed[:, j] = 3 * {"label": other_ys, "input": other_xs, "query": other_queries}[what][:, j]
                given[what] = changed
                now_xs, now_ys = given["input"], given["label"]
                assert now_xs is not None
                assert now_ys is not None
                return subject.ask(model, now_xs, now_ys, given["query"])

            for j in range(points):
                # Which entries may not know of entry j's label, input, query. Without queries x_j is itself query j.
                unaware = {"label": range(j + 1), "input": range(j + 1 if separate is not None else j)}
                if separate is not None:
                    unaware["query"] = [k for k in range(points) if k != j]  # type: ignore[assignment]
                for what, entries in unaware.items():
                    now = found(j, what)
                    for k in entries:
                        if not differ(now[:, k], usual[:, k], tolerance=1e-5):
                            continue
                        leak = _leak(what, j, k, off(now[:, k], usual[:, k]), how)
                        if j == k:
                            own = own or leak  # unless something that comes later says more
                            break
                        yield leak
                        return
                    if what == "label":
                        seen_labels |= differ(now, usual, tolerance=1e-5)
            if own is not None:
                yield own
                return
    if not seen_labels:
        yield Note("no prediction depends on any label: nothing can be learned in context")


def _leak(what: str, j: int, k: int, change: float, how: str) -> Finding:
    if what == "query":
        told = f"query {j}, which is another entry's"
        mend = "answer every query by itself: queries see the pairs before them, not one another"
    elif j > k:
        told = f"the {what} of pair {j}, which comes later"
        mend = "mask what comes later (a causal mask, cumulative sums), and take no mean or norm over the points"
    else:
        told = f"the {what} of pair {j}, which is not before it"
        mend = "let entry k use pairs 0 to k - 1: shift the pairs by one"
        if what == "input":
            mend = "where queries are given, answer queries[:, k] in the place of xs[:, k]"
    return Finding(
        expected=f"entry k of forward as a function of pairs 0 to k - 1 and query k, {how}",
        found=f"entry {k} changes by up to {change:.3g} with {told}",
        mend=mend,
    )


@rule("prompt lengths", "an entry is the same whether its prompt length is asked alone or among others",
      requires=("causality",))  # fmt: skip
def prompt_lengths(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    model = subject.stirred()
    xs, ys, queries = subject.prompts(dims, points)
    with torch.no_grad():
        for separate in (None, queries):
            whole = subject.ask(model, xs, ys, separate)
            prompts = Prompts(xs=xs, ys=ys, targets=ys, queries=separate)
            for k in range(points):
                asked = prompts.at_prefix(k)
                alone = subject.ask(model, asked.xs, asked.ys)[:, k]
                if differ(alone, whole[:, k]):
                    how = "" if separate is None else " and separate queries"
                    yield Finding(
                        expected=f"entry {k} of {points} points{how} as in the prompt of {k + 1} points that asks it "
                        "alone",
                        found=f"it differs by up to {off(alone, whole[:, k]):.3g}",
                        mend="let nothing depend on how many points xs has; where queries are given, answer "
                        "queries[:, k] in the place of xs[:, k]",
                    )
                    return


@rule("batch", "prompts do not influence one another", requires=("determinism",))
def batch(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    model = subject.stirred()
    xs, ys, queries = subject.prompts(dims, points, batch=5)
    with torch.no_grad():
        for separate in (None, queries):
            whole = subject.ask(model, xs, ys, separate)
            choices = {"in another order": [3, 0, 4, 1, 2], "without the others": [2, 3], "alone": [4]}
            for how, rows in choices.items():
                now = subject.ask(model, xs[rows], ys[rows], None if separate is None else separate[rows])
                if differ(now, whole[rows]):
                    yield Finding(
                        expected=f"the same predictions for prompts {how} as in the whole batch",
                        found=f"predictions that differ by up to {off(now, whole[rows]):.3g}",
                        mend="take no mean, norm or maximum over the axis of prompts (batch normalisation does), and "
                        "keep that axis in front in every reshape",
                    )
                    return


@rule("predict", "predict gives what forward gives, in passes of any size, and leaves the model alone",
      requires=("batch",))  # fmt: skip
def predict(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    xs, ys, queries = subject.prompts(dims, points, batch=5)
    model = subject.stirred()
    for separate in (None, queries):
        # Targets are what is to be predicted: a model that reads them shows.
        prompts = Prompts(xs=xs, ys=ys, targets=torch.full_like(ys, torch.nan), queries=separate)
        for passes in (64, 2, 1):
            model.train(passes != 2).prompts_per_pass = passes
            with torch.no_grad():
                wanted = subject.ask(model, xs, ys, separate)
            subject.doing = f"predict of 5 prompts with prompts_per_pass = {passes}"
            found: object = model.predict(prompts)
            finding = _unlike_forward(found, wanted, model, training=passes != 2, doing=subject.doing)
            if finding is not None:
                yield finding
                return


def _unlike_forward(found: object, wanted: Tensor, model: Model, *, training: bool, doing: str) -> Finding | None:
    mend = "leave predict as Model defines it; what it costs in memory is bounded by prompts_per_pass"
    if not isinstance(found, Tensor) or differ(found, wanted):
        got = f"they differ by up to {off(found, wanted):.3g}" if isinstance(found, Tensor) else repr(type(found))
        return Finding(expected=f"the predictions of forward from {doing}", found=got, mend=mend)
    if found.requires_grad or any(value.grad is not None for value in model.parameters()):
        return Finding(expected=f"no gradients from {doing}", found="predictions or parameters with some", mend=mend)
    if model.training != training:
        mode = "training" if training else "evaluation"
        return Finding(expected=f"{mode} mode after {doing}, as before", found="the other mode", mend=mend)
    return None
