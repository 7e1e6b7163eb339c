"""The promotion gate: the conditions under which a model goes into service. A pure function: facts in, reasons out.

Enough of the teacher kept, ONNX agrees, within the budgets of size and latency, and not worse than the champion on the
same rows beyond the noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from flows.promotion.bootstrap import Difference
from stillhouse.errors import InputError
from tasks.stage.params import Block


class NoiseParams(Block):
    """`promote.noise`: what of a difference between two models is chance."""

    standard_errors: float = Field(description="How many the candidate may lie below; negative: must lie above")
    resamples: int = Field(gt=1, description="Of the rows, both models on the same ones")
    seed: int = Field(ge=0, description="Which rows are drawn")


class ApprovalParams(Block):
    """`promote.approval`: whether a person has to approve."""

    required: bool = Field(description="A version that passes waits for a person's yes")
    hours: float = Field(gt=0, description="How long a flow waits for it; then the answer is no")


class PromoteParams(Block):
    """`promote`: what a model must be to go into service."""

    min_kept: float = Field(gt=0, description="Share of the teacher's metric that it keeps")
    margin: float | None = Field(description="How far below the champion it may lie; null: as `noise` says")
    noise: NoiseParams
    max_bytes: int | None = Field(gt=0, description="Largest checkpoint; null: any")
    max_latency_p50_ms: float | None = Field(gt=0, description="Longest median latency of one sentence; null: any")
    max_onnx_difference: float = Field(ge=0, description="Largest difference between ONNX's logits and torch's")
    approval: ApprovalParams


@dataclass(frozen=True)
class Contender:
    """A version and what is known of it: the tags that `flows.registry.versions` gives it."""

    version: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Rival:
    """The champion, and its score and the judged version's on the rows of the latter."""

    version: str
    recipe: str
    scores: Difference


def judge(contender: Contender, rival: Rival | None, limits: PromoteParams) -> tuple[list[str], list[str]]:
    """What speaks for a version, and what against it, one line each.

    Args:
        rival: None where there is no champion yet; the contender itself where it is the champion.

    Raises:
        InputError: a fact is missing, or no number.
    """
    passed: list[str] = []
    failed: list[str] = []

    def check(good: bool, line: str) -> None:
        (passed if good else failed).append(line)

    kept, difference = _number(contender, "kept"), _number(contender, "onnx_max_difference")
    least = f"promote.min_kept: {limits.min_kept:.1%}"
    check(kept >= limits.min_kept, f"keeps {kept:.1%} of the teacher on {_split(contender)} ({least})")
    # Two runtimes that round activations may differ by as much as rounding moves a logit, and both be right.
    rounding = _number(contender, "onnx_rounding")
    check(
        difference <= max(limits.max_onnx_difference, rounding),
        f"ONNX differs by {difference:.2g} (promote.max_onnx_difference: {limits.max_onnx_difference:g}"
        + (f", rounded activations: {rounding:.2g})" if rounding else ")"),
    )
    if limits.max_bytes is not None:
        size = int(_number(contender, "checkpoint_bytes"))
        check(size <= limits.max_bytes, f"{size:,} bytes on disk (promote.max_bytes: {limits.max_bytes:,})")
    if limits.max_latency_p50_ms is not None:
        latency, most = _number(contender, "latency_p50_ms"), limits.max_latency_p50_ms
        check(latency <= most, f"{latency:.2f} ms a sentence (promote.max_latency_p50_ms: {most:g})")
    check(*_against(contender, rival, limits))
    return passed, failed


def tolerance(scores: Difference, limits: PromoteParams) -> tuple[float, str]:
    """How far a model may lie below another on the same rows, and why."""
    noise = limits.noise
    if limits.margin is not None:
        return limits.margin, f"promote.margin; standard error {scores.standard_error:.4f}"
    why = f"{noise.standard_errors:g} standard errors over {noise.resamples} resamples: {scores.standard_error:.4f}"
    return noise.standard_errors * scores.standard_error, why


def _against(contender: Contender, rival: Rival | None, limits: PromoteParams) -> tuple[bool, str]:
    if rival is None:
        return True, "there is no champion yet"
    if rival.version == contender.version:
        return True, "it is the champion already"
    scores = rival.scores
    allowed, why = tolerance(scores, limits)
    line = (
        f"{contender.facts['task_metric']} ({_split(contender)}) {scores.mine:.4f}, "
        f"champion (version {rival.version}, {rival.recipe}) {scores.theirs:.4f}, allowed {allowed:.4f} ({why})"
    )
    return scores.mine >= scores.theirs - allowed, line


def _split(contender: Contender) -> str:
    """What the version was judged on; the tag is younger than the first versions, which had no test split."""
    return contender.facts.get("split", "validation")


def _number(contender: Contender, fact: str) -> float:
    try:
        return float(contender.facts[fact])
    except (KeyError, ValueError):
        raise InputError(
            f"version {contender.version}: its tag '{fact}' = {contender.facts.get(fact)!r} is no number: "
            "register it again (python -m flows.compress RECIPE)"
        ) from None
