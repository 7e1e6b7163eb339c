"""Tasks made of the built-in source and of files: their rows, labels and limits, and what is refused."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from stillhouse.errors import InputError
from tasks.data.dataset import load_task
from tasks.sources.make_task import DataParams, prepare_task
from tasks.stage.params import PARAMS, load, read_yaml

ROOT = Path(__file__).parents[3]
GOOD = [("a fine film", "1"), ("dull", "0"), ("moving", "1"), ("long", "0")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def data_params(**changes: Any) -> DataParams:
    """The project's own `data` block, with changes to some of its keys."""
    return DataParams.model_validate(_merged(read_yaml(ROOT / PARAMS)["data"], changes))


def _merged(block: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return block | {key: block[key] | value if isinstance(value, dict) else value for key, value in changes.items()}


def small(libraries: tuple[str, ...] = ("numpy", "scipy")) -> DataParams:
    counts = {"libraries": list(libraries), "train_per_library": 12, "validation_per_library": 4}
    return data_params(source="docstrings", docstrings=counts)


def table(folder: Path, train: list[tuple[str, str]], validation: list[tuple[str, str]], **changes: Any) -> DataParams:
    """Parameters of two TSV files with the columns said and mood, which it writes."""
    folder.mkdir(exist_ok=True)
    for name, rows in (("a.tsv", train), ("b.tsv", validation)):
        (folder / name).write_text("said\tmood\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    files = {"folder": str(folder), "train": "a.tsv", "validation": "b.tsv", "layout": "table"}
    columns = {"text": "said", "text_pair": None, "label": "mood"}
    return data_params(**{"source": "files", "files": files, "columns": columns, "labels": None} | changes)


def rows(file: Path) -> list[dict[str, Any]]:
    return pq.read_table(file).to_pylist()


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha1(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_the_shipped_parameters_are_valid() -> None:
    assert load("data", DataParams, ROOT / PARAMS).seed >= 0


def test_the_built_in_task_is_balanced_over_the_libraries(tmp_path: Path) -> None:
    counts = prepare_task(small(), tmp_path / "task")
    task = load_task(tmp_path / "task")
    assert counts == {"train_rows": 24, "validation_rows": 8}
    assert task.labels == ("numpy", "scipy")
    assert not task.pair
    assert task.train["label"].count(0) == task.train["label"].count(1) == 12
    assert task.validation["label"].count(0) == 4
    assert task.train["label"] != sorted(task.train["label"])


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        prepare_task(small(), tmp_path / name)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_more_sentences_than_a_library_has_are_refused(tmp_path: Path) -> None:
    counts = {"libraries": ["pandas", "iniconfig"], "train_per_library": 50, "validation_per_library": 1}
    with pytest.raises(InputError, match=r"data\.docstrings\.train_per_library = 50: 'iniconfig' has \d+ such"):
        prepare_task(data_params(source="docstrings", docstrings=counts), tmp_path / "task")
    assert not (tmp_path / "task").exists()


def test_label_names_come_from_the_data_in_a_fixed_order(tmp_path: Path) -> None:
    prepare_task(table(tmp_path / "in", GOOD, GOOD[::-1]), tmp_path / "task")
    task = load_task(tmp_path / "task")
    assert task.labels == ("0", "1")
    assert task.train[0] == {"text": "a fine film", "label": 1}


def test_labels_may_be_given_as_names_or_as_places_in_the_list_of_names(tmp_path: Path) -> None:
    named = [("a", "good"), ("b", "bad"), ("c", "good")]
    for kind, data in (("names", named), ("places", GOOD[:3])):
        prepare_task(table(tmp_path / "in", data, data, labels=["bad", "good"]), tmp_path / kind)
        assert load_task(tmp_path / kind).labels == ("bad", "good")
        assert [row["label"] for row in rows(tmp_path / kind / "train.parquet")] == [1, 0, 1]


def test_scores_are_kept_as_numbers(tmp_path: Path) -> None:
    scores = [("a", "0.5"), ("b", "5"), ("c", "-1e1")]
    prepare_task(table(tmp_path / "in", scores, scores, labels=[]), tmp_path / "task")
    task = load_task(tmp_path / "task")
    assert task.regression
    assert task.train["label"][:] == [0.5, 5.0, -10.0]


def test_a_limit_draws_rows_by_seed_in_the_order_of_the_source(tmp_path: Path) -> None:
    many = [(f"text {number}", str(number % 2)) for number in range(100)]

    def drawn(name: str, **changes: Any) -> list[str]:
        prepare_task(table(tmp_path / "in", many, many, **changes), tmp_path / name)
        return [row["text"] for row in rows(tmp_path / name / "train.parquet")]

    everything = drawn("all", train_limit=None)
    one, again, other = (drawn(f"{i}", train_limit=10, seed=seed) for i, seed in enumerate((1, 1, 2)))
    assert everything == [text for text, _ in many]
    assert one == again != other
    assert len(one) == 10
    assert one == sorted(one, key=everything.index)
    assert drawn("more", train_limit=1000) == everything


@pytest.mark.parametrize(
    ("train", "validation", "changes", "message"),
    [
        (GOOD, [], {}, r"b\.tsv: no rows"),
        (GOOD, [*GOOD, ("odd", "2")], {}, r"labels differ: .*a\.tsv has \['0', '1'\], .*b\.tsv has \['0', '1', '2'\]"),
        (GOOD, GOOD[:1], {}, "labels differ"),
        (GOOD, [*GOOD, ("odd", "2")], {"labels": ["bad", "good"]}, r"b\.tsv, line 6: unknown label '2'"),
        (GOOD, [("odd", "")], {}, r"b\.tsv, line 2: the label is missing"),
        (GOOD[:1], GOOD[:1], {}, "every row has the label '1'"),
        ([("a", "4.5"), ("b", "high")], GOOD, {"labels": []}, r"a\.tsv, line 3: label 'high' is not a number"),
        ([("a", "nan")], GOOD, {"labels": []}, r"a\.tsv, line 2: label 'nan' is not a number"),
        ([(f"t{i}", f"{i / 7}") for i in range(1500)], GOOD, {}, r"for scores set data\.labels to \[\]"),
        (GOOD, GOOD, {"columns": {"text_pair": "other"}}, "no column 'other': it has said, mood"),
        (GOOD, GOOD, {"columns": {"label": None}}, r"data\.columns\.label = null"),
        (GOOD, GOOD, {"files": {"folder": None}}, r"data\.files\.folder = None"),
        (GOOD, GOOD, {"files": {"layout": "sst2"}}, r"a\.tsv, line 2: no column 'text': it has said, mood"),
        (GOOD, GOOD, {"source": "hub"}, r"data\.hub\.name = null"),
        (GOOD, GOOD, {"source": "docstrings", "docstrings": {"libraries": ["numpy", "nope"]}}, "library 'nope' is not"),
    ],
)
def test_bad_data_gets_one_line_and_leaves_nothing_behind(
    tmp_path: Path, train: Any, validation: Any, changes: dict[str, Any], message: str
) -> None:
    params = table(tmp_path / "in", train, validation)
    merged = DataParams.model_validate(_merged(params.model_dump(), changes))
    with pytest.raises(InputError, match=message) as caught:
        prepare_task(merged, tmp_path / "out" / "task")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_label_names_that_a_layout_contradicts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("text\tlabel\nx\t0\ny\t1\n")
    (tmp_path / "dev.tsv").write_text("text\tlabel\nx\t0\ny\t1\n")

    def params(labels: list[str] | None) -> DataParams:
        files = {"folder": str(tmp_path), "train": None, "validation": None, "layout": "sst2"}
        return data_params(source="files", files=files, labels=labels)

    with pytest.raises(InputError, match=r"data\.labels = \['bad', 'good'\]: the data has \['negative', 'positive'\]"):
        prepare_task(params(["bad", "good"]), tmp_path / "task")
    prepare_task(params(["positive", "negative"]), tmp_path / "task")
    assert [row["label"] for row in rows(tmp_path / "task" / "train.parquet")] == [1, 0]


def test_a_pair_keeps_both_texts(tmp_path: Path) -> None:
    content = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tOne.\tUno.\n0\t3\t4\tTwo.\tTres.\n"
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(content)
    files = {"folder": str(tmp_path), "train": None, "validation": None, "layout": "mrpc"}
    prepare_task(data_params(source="files", files=files), tmp_path / "task")
    task = load_task(tmp_path / "task")
    assert task.pair
    assert task.train[1] == {"text": "Two.", "text_pair": "Tres.", "label": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_limit": 0}, "train_limit = 0"),
        ({"source": "web"}, "source = 'web'"),
        ({"docstrings": {"min_words": 50}}, r"min_words \(50\) is above max_words"),
        ({"docstrings": {"libraries": ["numpy"]}}, "at least 2"),
        ({"docstrings": {"libraries": ["numpy", "numpy"]}}, "named twice"),
        ({"labels": ["a", "a"]}, "stands twice"),
        ({"hub": {"nane": "x"}}, r"data\.hub\.nane = 'x' is not a known key"),
    ],
)
def test_bad_parameters_are_named_with_their_value(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tree = read_yaml(ROOT / PARAMS)
    tree["data"] = _merged(tree["data"], changes)
    YAML().dump(tree, tmp_path / "params.yaml")
    with pytest.raises(InputError, match=message):
        load("data", DataParams, tmp_path / "params.yaml")
