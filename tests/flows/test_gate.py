import pytest

from flows.gate import Contender, PromoteParams, judge, noise

LIMITS = PromoteParams(min_kept=0.95, margin=None, max_bytes=None, max_latency_p50_ms=None, max_onnx_difference=1e-3)
FACTS = {
    "recipe": "hinton",
    "task_metric": "accuracy",
    "value": "0.9",
    "kept": "0.98",
    "examples": "400",
    "checkpoint_bytes": "1000",
    "latency_p50_ms": "1.5",
    "onnx_max_difference": "1e-6",
    "data_md5": "a.dir",
}


def contender(version: str, **facts: str) -> Contender:
    return Contender(version, FACTS | facts)


def failures(limits: PromoteParams = LIMITS, champion: Contender | None = None, **facts: str) -> list[str]:
    others = [champion] if champion else []
    return judge(contender("2", **facts), champion, others, limits)[1]


def test_a_good_first_model_passes_and_says_why() -> None:
    passed, failed = judge(contender("1"), None, [], LIMITS)
    assert not failed and passed == [
        "keeps 98.0% of the teacher (promote.min_kept: 95.0%)",
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


def test_worse_than_the_champion_within_the_noise_passes_and_beyond_it_does_not() -> None:
    champion = contender("1", recipe="tinybert")  # one standard error of 0.9 on 400: 0.015
    assert not failures(champion=champion, value="0.886")
    assert failures(champion=champion, value="0.884") == [
        "accuracy 0.8840, champion (version 1, tinybert) 0.9000, noise 0.0150"
    ]
    assert failures(LIMITS.model_copy(update={"margin": 0.0}), champion, value="0.8999")


def test_a_champion_of_other_data_is_compared_by_its_recipe_on_these_data() -> None:
    champion = contender("1", recipe="tinybert", data_md5="old.dir")
    (line,) = failures(champion=champion)
    assert "measured on other data: run python -m flows.compress tinybert" in line
    again = contender("3", recipe="tinybert", value="0.95")
    _, failed = judge(contender("4"), champion, [contender("4"), again, champion], LIMITS)
    assert failed == ["accuracy 0.9000, champion (version 3, tinybert) 0.9500, noise 0.0109"]


def test_a_champion_of_another_metric_is_not_compared() -> None:
    assert failures(champion=contender("1", task_metric="f1")) == ["it is measured by accuracy, the champion by f1"]


def test_the_champion_itself_passes() -> None:
    assert judge(contender("2"), contender("2"), [], LIMITS)[0][-1] == "it is the champion already"


def test_noise_is_one_standard_error() -> None:
    assert noise("accuracy", 0.5, 100) == 0.05
    assert noise("pearson", 0.0, 101) == 0.1
    assert noise("accuracy", 1.0, 100) == 0.0
