"""The promotion gate: what a model must be to go into service. Pure: facts in, reasons out.

Enough of the teacher kept, ONNX agrees, within the budgets of size and latency, and not worse than the champion on the
same data beyond the noise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from tasks.params import Block

CORRELATIONS = ("matthews", "pearson", "spearman")


class PromoteParams(Block):
    """`promote`: what a model must be to go into service."""

    min_kept: float = Field(gt=0, description="Share of the teacher's metric that it keeps")
    margin: float | None = Field(ge=0, description="How much worse than the champion is noise; null: a standard error")
    max_bytes: int | None = Field(gt=0, description="Largest checkpoint; null: any")
    max_latency_p50_ms: float | None = Field(gt=0, description="Longest median latency of one sentence; null: any")
    max_onnx_difference: float = Field(ge=0, description="Largest difference between ONNX's logits and torch's")


@dataclass(frozen=True)
class Contender:
    """A version and what is known of it: the tags that `flows.registry` gives it."""

    version: str
    facts: Mapping[str, str]


def judge(
    version: Contender, champion: Contender | None, others: Sequence[Contender], limits: PromoteParams
) -> tuple[list[str], list[str]]:
    """What speaks for a version, and what against it, one line each.

    Args:
        others: all versions of the model, the newest first; where the champion was measured on other data, the newest
            version of its recipe on these data stands in for it.
    """
    facts = version.facts
    passed: list[str] = []
    failed: list[str] = []

    def check(good: bool, line: str) -> None:
        (passed if good else failed).append(line)

    kept, difference = float(facts["kept"]), float(facts["onnx_max_difference"])
    check(kept >= limits.min_kept, f"keeps {kept:.1%} of the teacher (promote.min_kept: {limits.min_kept:.1%})")
    # Two runtimes that round activations may differ by as much as rounding moves a logit, and both be right.
    rounding = float(facts.get("onnx_rounding", 0))
    check(
        difference <= max(limits.max_onnx_difference, rounding),
        f"ONNX differs by {difference:.2g} (promote.max_onnx_difference: {limits.max_onnx_difference:g}"
        + (f", rounded activations: {rounding:.2g})" if rounding else ")"),
    )
    if limits.max_bytes is not None:
        size = int(facts["checkpoint_bytes"])
        check(size <= limits.max_bytes, f"{size:,} bytes on disk (promote.max_bytes: {limits.max_bytes:,})")
    if limits.max_latency_p50_ms is not None:
        latency, most = float(facts["latency_p50_ms"]), limits.max_latency_p50_ms
        check(latency <= most, f"{latency:.2f} ms a sentence (promote.max_latency_p50_ms: {most:g})")
    check(*_against(version, champion, others, limits.margin))
    return passed, failed


def noise(metric: str, value: float, examples: int) -> float:
    """One standard error of a metric: binomial for shares, Fisher's for correlations."""
    if metric in CORRELATIONS:
        return (1 - value**2) / math.sqrt(max(examples - 1, 1))
    return math.sqrt(max(value * (1 - value), 0.0) / examples)


def _against(
    version: Contender, champion: Contender | None, others: Sequence[Contender], margin: float | None
) -> tuple[bool, str]:
    if champion is None:
        return True, "there is no champion yet"
    if champion.version == version.version:
        return True, "it is the champion already"
    rival = _comparable(champion, version.facts["data_md5"], others)
    recipe = champion.facts["recipe"]
    if rival is None:
        return False, (
            f"the champion (version {champion.version}, {recipe}) was measured on other data: "
            f"run python -m flows.compress {recipe}, so that the two can be compared"
        )
    metric = version.facts["task_metric"]
    if rival.facts["task_metric"] != metric:
        return False, f"it is measured by {metric}, the champion by {rival.facts['task_metric']}"
    theirs, mine = float(rival.facts["value"]), float(version.facts["value"])
    allowed = noise(metric, theirs, int(rival.facts["examples"])) if margin is None else margin
    other = f"champion (version {rival.version}, {recipe}) {theirs:.4f}"
    return mine >= theirs - allowed, f"{metric} {mine:.4f}, {other}, noise {allowed:.4f}"


def _comparable(champion: Contender, data_md5: str, others: Sequence[Contender]) -> Contender | None:
    recipe = champion.facts["recipe"]
    ours = [each for each in (champion, *others) if each.facts.get("recipe") == recipe]
    same = [each for each in ours if each.facts["data_md5"] == data_md5]
    return same[0] if same else None
