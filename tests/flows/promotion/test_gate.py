import pytest

from flows.promotion.bootstrap import Difference
from flows.promotion.gate import ApprovalParams, Contender, NoiseParams, PromoteParams, Rival, judge
from stillhouse.errors import InputError

LIMITS = PromoteParams(
    min_kept=0.95,
    margin=None,
    noise=NoiseParams(standard_errors=1.0, resamples=1000, seed=1),
    max_bytes=None,
    max_latency_p50_ms=None,
    max_onnx_difference=1e-3,
    approval=ApprovalParams(required=False, hours=1.0),
)
FACTS = {
    "recipe": "hinton",
    "task_metric": "accuracy",
    "value": "0.9",
    "kept": "0.98",
    "examples": "400",
    "checkpoint_bytes": "1000",
    "latency_p50_ms": "1.5",
    "onnx_max_difference": "1e-6",
    "onnx_rounding": "0.0",
    "data_md5": "a.dir",
}


def contender(version: str, **facts: str) -> Contender:
    return Contender(version, FACTS | facts)


def failures(limits: PromoteParams = LIMITS, rival: Rival | None = None, **facts: str) -> list[str]:
    return judge(contender("2", **facts), rival, limits)[1]


def champion(mine: float) -> Rival:
    """A champion of 0.9, compared with a candidate; the standard error of the difference is 0.015."""
    return Rival("1", "tinybert", Difference(mine, 0.9, 0.015))


def test_a_good_first_model_passes_and_says_why() -> None:
    passed, failed = judge(contender("1"), None, LIMITS)
    assert not failed and passed == [
        "keeps 98.0% of the teacher on validation (promote.min_kept: 95.0%)",
        "ONNX differs by 1e-06 (promote.max_onnx_difference: 0.001)",
        "there is no champion yet",
    ]


@pytest.mark.parametrize(
    ("limits", "facts", "reason"),
    [
        ({}, {"kept": "0.94"}, "keeps 94.0% of the teacher"),
        ({}, {"onnx_max_difference": "0.5"}, "ONNX differs by 0.5"),
        ({}, {"onnx_max_difference": "nan"}, "ONNX differs by nan"),
        ({"max_bytes": 999}, {}, "1,000 bytes on disk (promote.max_bytes: 999)"),
        ({"max_latency_p50_ms": 1.4}, {}, "1.50 ms a sentence (promote.max_latency_p50_ms: 1.4)"),
    ],
)
def test_each_limit_alone_shuts_the_gate(limits: dict, facts: dict, reason: str) -> None:
    (line,) = failures(LIMITS.model_copy(update=limits), **facts)
    assert line.startswith(reason)


def test_graphs_that_round_activations_may_differ_by_what_rounding_moves() -> None:
    assert not failures(onnx_max_difference="0.05", onnx_rounding="0.06")
    (line,) = failures(onnx_max_difference="0.07", onnx_rounding="0.06")
    assert line == "ONNX differs by 0.07 (promote.max_onnx_difference: 0.001, rounded activations: 0.06)"


def test_below_the_champion_within_the_noise_passes_and_beyond_it_does_not() -> None:
    assert not failures(rival=champion(0.8851))
    assert failures(rival=champion(0.8849)) == [
        "accuracy (validation) 0.8849, champion (version 1, tinybert) 0.9000, "
        "allowed 0.0150 (1 standard errors over 1000 resamples: 0.0150)"
    ]
    two = LIMITS.noise.model_copy(update={"standard_errors": 2.0})
    assert not failures(LIMITS.model_copy(update={"noise": two}), champion(0.8701))


def test_with_negative_standard_errors_a_candidate_must_be_above_the_noise() -> None:
    above = LIMITS.model_copy(update={"noise": LIMITS.noise.model_copy(update={"standard_errors": -1.0})})
    assert failures(above, champion(0.9149)) and not failures(above, champion(0.9151))


def test_a_margin_that_is_stated_counts_instead_of_the_noise() -> None:
    assert failures(LIMITS.model_copy(update={"margin": 0.0}), champion(0.8999), split="test") == [
        "accuracy (test) 0.8999, champion (version 1, tinybert) 0.9000, "
        "allowed 0.0000 (promote.margin; standard error 0.0150)"
    ]


def test_the_champion_itself_passes() -> None:
    itself = Rival("2", "hinton", Difference(0.9, 0.9, 0.0))
    assert judge(contender("2"), itself, LIMITS)[0][-1] == "it is the champion already"


@pytest.mark.parametrize("facts", [{"kept": "much"}, {"onnx_max_difference": ""}])
def test_a_fact_that_is_no_number_is_named(facts: dict) -> None:
    (name,) = facts
    with pytest.raises(InputError, match=f"version 2: its tag '{name}' = .* is no number"):
        failures(**facts)
