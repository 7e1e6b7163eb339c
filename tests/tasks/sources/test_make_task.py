"""Tasks made of the built-in source and of files: their rows, labels and limits, and what is refused."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.data.schema import kind_of
from tasks.sources.blocks import DataParams
from tasks.sources.make_task import prepare_task as prepare
from tasks.stage.params import PARAMS, load, read_yaml

ROOT = Path(__file__).parents[3]
GOOD = [("a fine film", "1"), ("dull", "0"), ("moving", "1"), ("long", "0")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def prepare_task(params: DataParams, out: Path) -> dict[str, float]:
    return prepare(params, out, scores=params.kind == "scores")


def names(folder: Path) -> list[str]:
    """The names of the classes that were written."""
    return load_split(folder / "train.parquet").features["label"].names


def data_params(**changes: Any) -> DataParams:
    """The project's own `data` block, with changes to some of its keys."""
    return DataParams.model_validate(_merged(read_yaml(ROOT / PARAMS)["data"], changes))


def _merged(block: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    def merged(old: Any, new: Any) -> Any:
        return old | new if isinstance(old, dict) and isinstance(new, dict) else new

    return block | {key: merged(block[key], value) for key, value in changes.items()}


def small(libraries: tuple[str, ...] = ("numpy", "scipy")) -> DataParams:
    counts = {"libraries": list(libraries), "train_per_library": 12, "validation_per_library": 4}
    return data_params(source="docstrings", docstrings=counts)


def table(folder: Path, train: list[tuple[str, str]], validation: list[tuple[str, str]], **changes: Any) -> DataParams:
    """Parameters of two TSV files with the columns said and mood, which it writes."""
    folder.mkdir(exist_ok=True)
    # Other texts in the second: what stands in both is another test's.
    for name, rows, end in (("a.tsv", train, ""), ("b.tsv", validation, " too")):
        (folder / name).write_text("said\tmood\n" + "".join(f"{text}{end}\t{label}\n" for text, label in rows))
    files = {"folder": str(folder), "train": "a.tsv", "validation": "b.tsv", "test": None, "layout": "table"}
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
    train, validation = (rows(tmp_path / "task" / f"{split}.parquet") for split in ("train", "validation"))
    assert counts == {"train_rows": 24, "validation_rows": 8}
    assert names(tmp_path / "task") == ["numpy", "scipy"]
    assert kind_of(tmp_path / "task/train.parquet") == kind_of(tmp_path / "task/validation.parquet") == "classes"
    drawn = [row["label"] for row in train]
    assert set(train[0]) == {"text", "label"} and drawn.count(0) == drawn.count(1) == 12
    assert [row["label"] for row in validation].count(0) == 4
    assert drawn != sorted(drawn)


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
    assert names(tmp_path / "task") == ["0", "1"]
    assert rows(tmp_path / "task/train.parquet")[0] == {"text": "a fine film", "label": 1}


def test_labels_may_be_given_as_names_or_as_places_in_the_list_of_names(tmp_path: Path) -> None:
    named = [("a", "good"), ("b", "bad"), ("c", "good")]
    for kind, data in (("names", named), ("places", GOOD[:3])):
        prepare_task(table(tmp_path / "in", data, data, labels=["bad", "good"]), tmp_path / kind)
        assert names(tmp_path / kind) == ["bad", "good"]
        assert [row["label"] for row in rows(tmp_path / kind / "train.parquet")] == [1, 0, 1]


def test_scores_are_kept_as_numbers(tmp_path: Path) -> None:
    scores = [("a", "0.5"), ("b", "5"), ("c", "-1e1")]
    prepare_task(table(tmp_path / "in", scores, scores, kind="scores"), tmp_path / "task")
    assert [row["label"] for row in rows(tmp_path / "task/train.parquet")] == [0.5, 5.0, -10.0]
    assert kind_of(tmp_path / "task/train.parquet") == "scores"


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
        ([("a", "4.5"), ("b", "high")], GOOD, {"kind": "scores"}, r"a\.tsv, line 3: label 'high' is not a number"),
        ([("a", "nan")], GOOD, {"kind": "scores"}, r"a\.tsv, line 2: label 'nan' is not a number"),
        ([(f"t{i}", f"{i / 7}") for i in range(1500)], GOOD, {}, r"for scores set data\.kind to scores"),
        ([*GOOD, ("odd", "x" * 999)], GOOD, {"labels": ["bad", "good"]}, r"unknown label 'x{80}': known are"),
        ([*GOOD, ("odd", "9" * 9999)], GOOD, {"labels": ["bad", "good"]}, r"unknown label '9{80}': known are"),
        (
            [(f"t{i}", f"c{i}") for i in range(999)],
            GOOD,
            {},
            r"labels differ: .*'c0', 'c1', .{,200}… \(999\), .*b\.tsv has",
        ),
        (GOOD, GOOD, {"columns": {"text_pair": "other"}}, "no column 'other': it has said, mood"),
        (GOOD, GOOD, {"columns": {"label": None}}, r"data\.columns\.label = null"),
        (GOOD, GOOD, {"files": {"folder": None}}, r"data\.files\.folder = None"),
        (GOOD, GOOD, {"files": {"layout": "sst2"}}, r"a\.tsv, line 2: no column 'text': it has said, mood"),
        (GOOD, GOOD, {"source": "hub"}, r"data\.hub\.name = null"),
        (GOOD, GOOD, {"source": "docstrings", "docstrings": {"libraries": ["numpy", "nope"]}}, "library 'nope' is not"),
        (GOOD, GOOD, {"source": "docstrings", "docstrings": {"libraries": ["numpy"]}}, "two or more are needed"),
        (GOOD, GOOD, {"source": "docstrings", "kind": "scores"}, "data.source = docstrings has no scores"),
        (GOOD, GOOD, {"files": {"layout": "squad"}}, r"layout = 'squad' is of another kind, data\.kind = 'classes'"),
        (GOOD, GOOD, {"files": {"validation": "a.tsv"}}, r"a\.tsv is both train and validation"),
        (GOOD, GOOD, {"files": {"validation": None}, "validation_share": None}, r"data\.validation_share = null: give"),
        (GOOD, GOOD, {"kind": "scores", "labels": ["a", "b"]}, r"data\.labels = \['a', 'b'\]: scores have no names"),
        (GOOD, GOOD, {"files": {"validation": None}, "validation_share": 1e-9}, r"data\.validation_share: .* no rows"),
    ],
)
def test_bad_data_gets_one_line_and_leaves_nothing_behind(
    tmp_path: Path, train: Any, validation: Any, changes: dict[str, Any], message: str
) -> None:
    params = table(tmp_path / "in", train, validation)
    merged = DataParams.model_validate(_merged(params.model_dump(), changes))
    with pytest.raises(InputError, match=message) as caught:
        prepare_task(merged, tmp_path / "out" / "task")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900
    assert not (tmp_path / "out").exists()


def test_as_many_classes_as_are_named_are_classes(tmp_path: Path) -> None:
    many = [(f"text {number}", f"c{number}") for number in range(1500)]
    prepare_task(table(tmp_path / "in", many, many, labels=[name for _, name in many]), tmp_path / "task")
    assert names(tmp_path / "task") == [name for _, name in many]
    assert rows(tmp_path / "task/train.parquet")[1499]["label"] == 1499


@pytest.mark.parametrize(
    ("label", "kind", "message"),
    [
        ("1" + "0" * 400, "scores", r"line 2: label '10{79}' is not a number, or is beyond"),
        (r'"a \ud83d"', "classes", r"line 2: label 'a \\ud83d' holds half of a surrogate pair"),
    ],
)
def test_a_label_that_json_can_state_and_nothing_can_hold_is_refused(
    tmp_path: Path, label: str, kind: str, message: str
) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(f'{{"said": "x", "mood": 1}}\n{{"said": "y", "mood": {label}}}\n')
    files = {"train": "a.jsonl", "validation": "b.jsonl"}
    params = table(tmp_path / "in", GOOD, GOOD, kind=kind).model_dump()
    params = _merged(params, {"files": {"folder": str(tmp_path), **files}})
    with pytest.raises(InputError, match=message):
        prepare_task(DataParams.model_validate(params), tmp_path / "task")


def test_label_names_that_a_layout_contradicts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("text\tlabel\nx\t0\ny\t1\n")
    (tmp_path / "dev.tsv").write_text("text\tlabel\nv\t0\nw\t1\n")

    def params(labels: list[str] | None) -> DataParams:
        files = {"folder": str(tmp_path), "train": None, "validation": None, "layout": "sst2"}
        return data_params(source="files", files=files, labels=labels)

    with pytest.raises(InputError, match=r"data\.labels = \['bad', 'good'\]: the data has \['negative', 'positive'\]"):
        prepare_task(params(["bad", "good"]), tmp_path / "task")
    prepare_task(params(["positive", "negative"]), tmp_path / "task")
    assert [row["label"] for row in rows(tmp_path / "task" / "train.parquet")] == [1, 0]


def test_a_pair_keeps_both_texts(tmp_path: Path) -> None:
    content = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tOne.\tUno.\n0\t3\t4\tTwo.\tTres.\n"
    for name, end in (("train.tsv", ""), ("dev.tsv", " Too.")):
        (tmp_path / name).write_text(content.replace("One.", f"One.{end}").replace("Two.", f"Two.{end}"))
    files = {"folder": str(tmp_path), "train": None, "validation": None, "layout": "mrpc"}
    prepare_task(data_params(source="files", files=files), tmp_path / "task")
    assert rows(tmp_path / "task/train.parquet")[1] == {"text": "Two.", "text_pair": "Tres.", "label": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_limit": 0}, "train_limit = 0"),
        ({"source": "web"}, "source = 'web'"),
        ({"docstrings": {"min_words": 50}}, r"min_words \(50\) is above max_words"),
        ({"docstrings": {"libraries": []}}, "at least 1"),
        ({"labels": []}, r"data: labels = \[\]: scores are said by data\.kind: scores now"),
        ({"columns": {"text": 1, "label": "label"}}, "names and positions are mixed"),
        ({"columns": {"text": 0, "label": 1}}, "positions count from 1"),
        ({"validation_share": 0.5, "test_share": 0.5}, "leave nothing to train on"),
        ({"overlap": "keep"}, "data.overlap = 'keep'"),
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


def test_labels_may_be_given_names(tmp_path: Path) -> None:
    numbered = [("a", "2"), ("b", "1"), ("c", " 2 ")]
    prepare_task(table(tmp_path / "in", numbered, numbered, labels={1: "World", "2": "Sports"}), tmp_path / "task")
    assert names(tmp_path / "task") == ["World", "Sports"]
    assert [row["label"] for row in rows(tmp_path / "task/train.parquet")] == [1, 0, 1]
    strange = [*numbered, ("d", "3")]
    with pytest.raises(InputError, match=r"a\.tsv, line 5: unknown label '3': known are \['1', '2'\]"):
        prepare_task(table(tmp_path / "in", strange, numbered, labels={1: "World", 2: "Sports"}), tmp_path / "other")


def test_a_third_file_is_the_test_split(tmp_path: Path) -> None:
    params = table(tmp_path / "in", GOOD, GOOD)
    (tmp_path / "in/c.tsv").write_text("said\tmood\nnew\t1\n")
    params = params.model_copy(update={"files": params.files.model_copy(update={"test": "c.tsv"})})
    counts = prepare_task(params, tmp_path / "task")
    assert counts == {"train_rows": 4, "validation_rows": 4, "test_rows": 1}
    assert rows(tmp_path / "task/test.parquet") == [{"text": "new", "label": 1}]
    assert kind_of(tmp_path / "task/test.parquet") == "classes"


def test_test_and_validation_are_cut_before_limits_and_each_states_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    many = [(f"text {number}", str(number % 2)) for number in range(300)]
    shares = {"validation_share": 0.2, "test_share": 0.2}

    def prepared(name: str, **changes: Any) -> dict[str, list[str]]:
        params = table(tmp_path / "in", many, many, **shares, **changes)
        params = params.model_copy(update={"files": params.files.model_copy(update={"validation": None})})
        prepare_task(params, tmp_path / name)
        splits = ("train", "validation", "test")
        return {split: [row["text"] for row in rows(tmp_path / name / f"{split}.parquet")] for split in splits}

    whole, limited = prepared("whole"), prepared("limited", train_limit=10, validation_limit=5, test_limit=4)
    assert sorted(text for part in whole.values() for text in part) == sorted(text for text, _ in many)
    assert {split: len(texts) for split, texts in limited.items()} == {"train": 10, "validation": 5, "test": 4}
    assert all(set(limited[split]) < set(whole[split]) for split in whole)
    assert {kind_of(file) for file in (tmp_path / "whole").iterdir()} == {"classes"}
    assert load_split(tmp_path / "whole/test.parquet").features["label"].names == ["0", "1"]
    assert "test: none" not in capsys.readouterr().out


def test_without_a_test_split_it_is_said_what_scores_are_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepare_task(table(tmp_path / "in", GOOD, GOOD), tmp_path / "task")
    assert {file.name for file in (tmp_path / "task").iterdir()} == {"train.parquet", "validation.parquet"}
    assert "test: none; scores are of validation\n" in capsys.readouterr().out


def test_rows_of_two_splits_are_metrics_refused_or_dropped_as_params_say(tmp_path: Path) -> None:
    def both(**changes: Any) -> DataParams:
        params = table(tmp_path / "in", GOOD, GOOD, **changes)
        with (tmp_path / "in/b.tsv").open("a") as file:
            file.write("dull\t0\n")
        return params

    assert prepare_task(both(), tmp_path / "say") == {
        "validation_rows_in_train": 1, "train_rows": 4, "validation_rows": 5
    }  # fmt: skip
    with pytest.raises(InputError, match=r"b\.tsv: validation: 1 of 5 rows are training rows too"):
        prepare_task(both(overlap="refuse"), tmp_path / "refuse")
    assert not (tmp_path / "refuse").exists()
    counts = prepare_task(both(overlap="drop"), tmp_path / "drop")
    assert counts == {"validation_rows_in_train": 1, "train_rows": 3, "validation_rows": 5}
    assert "dull" not in [row["text"] for row in rows(tmp_path / "drop/train.parquet")]


def test_a_number_that_no_name_was_given_for_is_never_taken_for_a_place_among_the_names(tmp_path: Path) -> None:
    numbered = [("a", "1"), ("b", "2"), ("c", "0")]
    with pytest.raises(InputError, match=r"a\.tsv, line 4: unknown label '0': known are \['1', '2'\]"):
        prepare_task(table(tmp_path / "in", numbered, numbered, labels={1: "World", 2: "Sports"}), tmp_path / "task")


@pytest.mark.parametrize("names", [["1.0", "2.0"], ["2", "1"], {"1.0": "one", 2: "two"}])
def test_names_that_params_state_are_written_as_the_datas_are(tmp_path: Path, names: list[str] | dict) -> None:
    rows = [("a", "1.0"), ("b", "2"), ("c", "2.0"), ("d", "1")]
    prepare_task(table(tmp_path / "raw", rows, rows, labels=names), tmp_path / "task")
    wanted = [str(name).removesuffix(".0") for name in (names.values() if isinstance(names, dict) else names)]
    assert load_split(tmp_path / "task/train.parquet").features["label"].names == wanted


def test_two_names_of_one_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels \['1', '1.0'\]: two of them are the label '1': name each once"):
        prepare_task(table(tmp_path / "raw", GOOD, GOOD, labels=["1", "1.0"]), tmp_path / "task")
