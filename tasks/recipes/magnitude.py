"""magnitude: what each share of pruned weights costs, before fine-tuning or after it; the model at one is kept.

When to use it: the question is how much of a model a task needs: it draws the curve from nothing pruned to nearly all.
Here zeros save neither bytes nor time.
"""

import copy
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.methods import magnitude as method
from tasks.phases.plan import Plan, left_out
from tasks.phases.run import Given
from tasks.recipes import prune_recover
from tasks.recipes.prune_recover import Share, recovery_step
from tasks.stage.params import Block

if TYPE_CHECKING:
    from tasks.phases.pruning import Bench


class Prune(prune_recover.Prune):
    """`magnitude.prune` in params.yaml: the keys of `prune-recover.prune`, whose `phase` is here that of each share."""

    when: Literal["before", "after"] = Field(
        description="Prune teacher.model once, then fine-tune; or the teacher, a little more at a time"
    )
    share: Share = Field(description="Of the model that is kept, one of shares")


class Params(Block):
    """`magnitude` in params.yaml."""

    prune: Prune


def prune(params: Prune, given: Given, bench: "Bench") -> Plan:
    """A training for each share, all of the same length, from the model before fine-tuning or from the last share's.

    Raises:
        InputError: shares that do not rise, or the kept one is not among them.
    """
    method.check_shares(params.shares)
    if params.share not in params.shares:
        raise InputError(
            f"magnitude.prune.share = {params.share} is not one of magnitude.prune.shares {params.shares}: add it"
        )
    model = bench.start() if params.when == "before" else given.teacher
    kept = model
    for share in params.shares:

        def plan(model: PreTrainedModel = model, share: float = share) -> Plan:
            pruned = copy.deepcopy(model)
            method.prune(pruned, share, params.scope)
            bench.report(pruned, share, "before")
            step, held = recovery_step(params, given), method.HeldZeros(pruned)
            return Plan(pruned, pruned, step, params.phase, teacher_logits=params.distill, callbacks=[held])

        recovered = bench.trained(f"share-{share:g}", plan)
        bench.report(recovered, share, "after")
        if share == params.share:
            kept = recovered
        if params.when == "after":
            model = recovered
    return left_out(kept)
