"""The rows of transfer.csv: how the error of a training method carries over to unseen classes and inputs."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

from icl_curriculum.results.fields import EXPERIMENT, N_CONTEXT, VARIANT
from icl_curriculum.results.schema import TableColumn

#: What a model is asked about: what it was trained on, classes that it was not trained on, and inputs likewise.
DOMAINS = ("seen", "unseen_classes", "unseen_inputs")
#: In the place of an adaptation: the model as training left it.
UNADAPTED = "unadapted"
#: How variants are compared with plain in-context training, after the rows that compare with nothing.
COMPARISONS = ("none", "equal_updates", "equal_operations", "equal_seen_error")


class TransferRow(NamedTuple):
    """How a training method carries over to what it was not trained on: a variant in a domain, against plain training.

    A table of `icl transfer`; `icl run` writes it where an experiment has several training methods and unseen cells.
    Seen cells are those that had a share in the variant's training; unseen classes those of a class without a share
    under inputs of training; unseen inputs those of a trained class under inputs that no training of the variant had.
    Prompts under any other shift are of no domain. A seed's error is the interquartile mean over the domain's cells.
    """

    experiment: Annotated[str, EXPERIMENT]
    variant: Annotated[str, dataclasses.replace(VARIANT, key=True)]
    method: Annotated[str, TableColumn("name of the training method; `in_context` is plain training")]
    steps: Annotated[int, TableColumn("updates of the variant, `training.steps`", unit="steps")]
    batch_size: Annotated[int, TableColumn("`training.batch_size`", unit="prompts")]
    fixed_prompts: Annotated[
        int | None,
        TableColumn(
            "`training.fixed_prompts`, the prompts of each cell that training has", unit="prompts",
            empty="where every update draws new prompts", axis=True,
        ),
    ]  # fmt: skip
    domain: Annotated[str, TableColumn("what the model is asked about", one_of=DOMAINS, key=True)]
    adaptation: Annotated[
        str,
        TableColumn(
            "`unadapted`, or how the model was adapted before it was asked, as `adapted=20`; without the rate, where "
            "no variant has two",
            key=True,
        ),
    ]
    learner: Annotated[str, TableColumn("id of who answers, as in evaluation.csv")]
    n_context: Annotated[
        int,
        dataclasses.replace(
            N_CONTEXT, key=False,
            meaning="in-context examples before the query: 4 d, or the longest trained number below it",
        ),
    ]  # fmt: skip
    metric: Annotated[
        str,
        TableColumn("`normalized_error`; cells with infinite mean have rows of their own, `median_error`", key=True),
    ]
    error: Annotated[float, TableColumn("interquartile mean of the error over cells and seeds; `inf` after overflow")]
    ci_low: Annotated[
        float | None,
        TableColumn("lower end of its 90% interval over seeds (Student's t, bootstrap's standard error)",
                    empty="with one seed, or an infinite error", negative=True),
    ]  # fmt: skip
    ci_high: Annotated[float | None, TableColumn("upper end of the same interval", empty="as `ci_low`", negative=True)]
    median: Annotated[float, TableColumn("median of the error over cells and seeds")]
    n_cells: Annotated[int, TableColumn("cells of the domain", unit="cells")]
    n_prompts: Annotated[
        int,
        TableColumn("prompts of each cell; fewer for costly adaptations (`evaluation.costly`)", unit="prompts"),
    ]
    n_seeds: Annotated[int, TableColumn("seeds of the variant", unit="seeds")]
    comparison: Annotated[
        str,
        TableColumn(
            "`none`: the variant alone; `equal_updates`: with plain training of as many steps and prompts; "
            "`equal_operations`: with plain training of several numbers of steps, read at the operations that the "
            "variant's training took; `equal_seen_error`: likewise, read at the variant's error on seen cells",
            one_of=COMPARISONS, key=True,
        ),
    ]  # fmt: skip
    versus: Annotated[
        str | None,
        TableColumn("the plain variants that it is compared with, shortest first", empty="where there is none"),
    ]
    versus_error: Annotated[
        float | None,
        TableColumn("error of plain training there: mean over the compared seeds", empty="where no seed is compared"),
    ]
    difference: Annotated[
        float | None,
        TableColumn(
            "error of the variant less that of plain training: mean of the differences seed by seed, below 0 where "
            "the variant is better",
            empty="where no seed is compared, or an error is infinite", negative=True,
        ),
    ]  # fmt: skip
    difference_low: Annotated[
        float | None,
        TableColumn("lower end of its 90% interval over seeds", empty="with fewer than two pairs", negative=True),
    ]
    difference_high: Annotated[
        float | None, TableColumn("upper end of the same interval", empty="as `difference_low`", negative=True)
    ]
    resolvable: Annotated[
        float | None,
        TableColumn(
            "the smallest difference that so many seeds resolve: half the width of the interval, "
            "t(0.95, n - 1) s / sqrt(n) of the standard deviation s of n paired differences, up to the bootstrap's "
            "sampling",
            empty="as `difference_low`",
        ),
    ]  # fmt: skip
    versus_seeds: Annotated[int, TableColumn("seeds of the plain variants; 0 where there is none", unit="seeds")]
    n_pairs: Annotated[int, TableColumn("seeds that are compared", unit="seeds")]
    note: Annotated[
        str | None, TableColumn("why seeds are left out of the comparison", empty="where all common seeds are in it")
    ]
