import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from ruamel.yaml import YAML

from stillhouse.errors import InputError
from tasks import augment
from tasks.data import augmented_rows
from tasks.data.schema import stated
from tasks.stage.params import PARAMS, read_yaml
from tests import tiny, tiny_mlm

ROOT = Path(__file__).parents[2]
SMALL = {"sentences": None, "copies": 3, "candidates": 4, "replace": 0.5, "batch_size": 16, "max_length": 32}

Run = Callable[..., Path]


@pytest.fixture
def mlm(tmp_path: Path) -> Path:
    return tiny_mlm.save(tmp_path / "mlm")


@pytest.fixture
def run(tmp_path: Path, mlm: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Augment a folder's task in this process; give the output folder."""
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")

    def started(data: Path, out: str = "out", cache: str = "cache", **changes: Any) -> Path:
        monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / cache))
        monkeypatch.setattr(sys, "argv", ["augment", *command(data, mlm, tmp_path / out, **changes)])
        augment.main()
        return tmp_path / out

    return started


def command(data: Path, mlm: Path, out: Path, precision: str = "auto", **changes: Any) -> list[str]:
    tree = read_yaml(ROOT / PARAMS)
    tree["augment"] |= SMALL | changes
    tree["train"]["precision"] = precision
    params = out.with_suffix(".yaml")
    YAML().dump(tree, params)
    return ["--data", str(data), "--mlm", str(mlm), "--out", str(out), "--params", str(params)]


def write_task(folder: Path, rows: int = 40, pair: bool = False) -> Path:
    """data/task as `tasks.prepare` would write it; a pair's sides and the label tell the row that they are from."""
    folder.mkdir()
    texts = [f"row{i} {text}" for i, text in enumerate(tiny_mlm.sentences(rows))]
    columns: dict[str, Any] = {"text": texts, "label": [i % 3 for i in range(rows)]}
    features = {"text": Value("string"), "label": ClassLabel(names=["bad", "fair", "good"])}
    if pair:
        columns["text_pair"] = [f"row{i} {text}" for i, text in enumerate(tiny_mlm.sentences(rows, seed=9))]
        features = {"text": Value("string"), "text_pair": Value("string"), "label": features["label"]}
    Dataset.from_dict(columns, Features(features)).to_parquet(folder / "train.parquet")
    tiny.state_kind(folder / "train.parquet", "classes")
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "train.parquet").to_pylist()


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "train.parquet").read_bytes()).hexdigest()


def origin(text: str) -> int:
    match = re.match(r"row(\d+)", text)
    assert match
    return int(match.group(1))


def test_every_row_stands_once_before_its_copies_and_keeps_its_label(tmp_path: Path, run: Run) -> None:
    data = write_task(tmp_path / "task")
    before, after = rows(data), rows(run(data))
    order = [origin(row["text"]) for row in after]
    assert order == sorted(order)
    for i, row in enumerate(before):
        group = [found for found in after if origin(found["text"]) == i]
        assert group[0] == row
        assert row not in group[1:]
        assert {found["label"] for found in group} == {row["label"]}
    assert len(after) > 2 * len(before)


def test_the_features_of_the_task_are_kept(tmp_path: Path, run: Run) -> None:
    data = write_task(tmp_path / "task", pair=True)
    out = run(data)
    found = Dataset.from_parquet(str(out / "train.parquet"), cache_dir=str(tmp_path / "datasets"))
    assert found.features == {
        "text": Value("string"),
        "text_pair": Value("string"),
        "label": ClassLabel(names=["bad", "fair", "good"]),
    }
    assert pq.read_schema(out / "train.parquet").equals(pq.read_schema(data / "train.parquet"), check_metadata=True)


def test_both_sides_of_a_copy_come_from_the_same_row(tmp_path: Path, run: Run) -> None:
    after = rows(run(write_task(tmp_path / "task", pair=True)))
    assert all(origin(row["text"]) == origin(row["text_pair"]) for row in after)
    originals = {origin(row["text"]): row for row in reversed(after)}
    for side in ("text", "text_pair"):
        assert any(row[side] != originals[origin(row["text"])][side] for row in after)


def test_with_probability_zero_the_output_is_the_input(tmp_path: Path, run: Run) -> None:
    data = write_task(tmp_path / "task")
    assert rows(run(data, replace=0.0)) == rows(data)


def test_without_copies_the_output_is_the_input(tmp_path: Path, run: Run) -> None:
    data = write_task(tmp_path / "task")
    assert rows(run(data, copies=0)) == rows(data)


def test_only_so_many_rows_are_augmented_and_more_of_them_include_these(tmp_path: Path, run: Run) -> None:
    data = write_task(tmp_path / "task")

    def augmented(limit: int) -> dict[int, list[str]]:
        groups: dict[int, list[str]] = {}
        for row in rows(run(data, sentences=limit, replace=1.0)):
            groups.setdefault(origin(row["text"]), []).append(row["text"])
        assert len(groups) == 40
        return {i: texts for i, texts in groups.items() if len(texts) > 1}

    few, many = augmented(6), augmented(15)
    assert (len(few), len(many)) == (6, 15)
    assert few.items() <= many.items()


def test_neither_batch_size_nor_chunks_change_the_result(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_task(tmp_path / "task")
    run = partial(run, precision="fp32")  # what shares a batch moves lower precisions' roundings
    reference = digest(run(data))
    assert digest(run(data, batch_size=1)) == reference
    monkeypatch.setattr(augment, "CHUNK", 7)
    assert digest(run(data)) == reference
    monkeypatch.setattr(augmented_rows, "BATCH", 11)
    assert rows(run(data)) == rows(run(data, batch_size=5))


def test_another_seed_gives_other_copies(tmp_path: Path, run: Run) -> None:
    data = write_task(tmp_path / "task")
    assert digest(run(data, seed=1)) != digest(run(data, seed=2))


def test_a_stopped_run_goes_on_after_its_last_chunk_and_ends_with_the_same_bytes(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(augment, "CHUNK", 8)
    data = write_task(tmp_path / "task")
    reference = digest(run(data, cache="other"))
    calls = 0
    whole = augment.variants_table

    def until_the_third(*arguments: Any) -> pa.Table:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(augment, "variants_table", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(data, out="stopped")
    assert not (tmp_path / "stopped").exists()
    chunks = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("chunk-*.parquet")}
    assert len(chunks) == 2
    capsys.readouterr()
    assert digest(run(data, out="stopped")) == reference
    assert calls == 3 + 3
    assert "going on after a run that was stopped" in capsys.readouterr().out
    assert not list((tmp_path / "cache").rglob("chunk-*"))


def test_an_empty_chunk_that_a_power_cut_left_is_made_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_task(tmp_path / "task")
    reference = digest(run(data))
    work = tmp_path / "work"
    work.mkdir()
    (work / "chunk-00001.parquet").touch()
    monkeypatch.setattr(augment, "workspace", lambda *_: work)
    assert digest(run(data)) == reference


@pytest.mark.slow
def test_a_killed_run_started_again_ends_with_the_hash_of_an_undisturbed_one(
    tmp_path: Path, run: Run, mlm: Path
) -> None:
    data = write_task(tmp_path / "task", rows=1500)
    reference = digest(run(data, cache="other", copies=6))
    arguments = [sys.executable, "-m", "tasks.augment", *command(data, mlm, tmp_path / "killed", copies=6)]
    environment = os.environ | {"STILLHOUSE_TRACKING": "off", "STILLHOUSE_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(arguments, env=environment, cwd=ROOT)
    while not list((tmp_path / "cache").rglob("chunk-00003.parquet")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    output = subprocess.run(arguments, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "going on after a run that was stopped" in output
    assert digest(tmp_path / "killed") == reference
    assert [path.name for path in tmp_path.glob(".killed*")] == []


def test_word_vectors_from_a_file_give_the_candidates_of_words_of_several_pieces(tmp_path: Path, run: Run) -> None:
    data = tmp_path / "task"
    data.mkdir()
    pq.write_table(pa.table({"text": ["a warmer"], "label": [0]}), data / "train.parquet")
    tiny.state_kind(data / "train.parquet", "classes")
    vectors = tmp_path / "glove.txt"
    vectors.write_text("warmer 1 1\nhotter 1 0.9\ncooler -1 1\n")
    texts = {row["text"] for row in rows(run(data, word_vectors=str(vectors), replace=1.0, candidates=1))}
    assert texts == {"a warmer", "a hotter"}


def broken(folder: Path, fault: str) -> None:
    folder.mkdir()
    file = folder / "train.parquet"
    table = pa.table({"text": ["film"] * 100, "label": [0] * 100}).replace_schema_metadata(stated("classes"))
    if fault == "empty":
        pq.write_table(table.slice(0, 0), file)
    elif fault == "column":
        pq.write_table(table.rename_columns(["question", "label"]).replace_schema_metadata(stated("classes")), file)
    elif fault == "truncated":
        pq.write_table(table, file)
        file.write_bytes(file.read_bytes()[:-20])
    else:
        assert fault == "missing"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("empty", "has no rows"),
        ("column", "none of them 'text'"),
        ("truncated", "is damaged"),
        ("missing", "is missing"),
    ],
)
def test_a_bad_train_split_is_refused_with_its_name(tmp_path: Path, run: Run, fault: str, message: str) -> None:
    broken(tmp_path / "task", fault)
    with pytest.raises(InputError, match=f"train.parquet' {message}|{message}"):
        run(tmp_path / "task")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replace": 1.5}, "augment.replace = 1.5"),
        ({"candidates": 0}, "augment.candidates = 0"),
        ({"candidates": 17}, "augment.candidates = 17: the masked LM's vocabulary has 17 whole words"),
        ({"max_length": 64}, "augment.max_length = 64: the masked LM takes 48 tokens"),
        ({"word_vectors": "none.txt"}, "augment.word_vectors = 'none.txt': no such file"),
        ({"sentences": 0}, "augment.sentences = 0"),
    ],
)
def test_a_bad_parameter_is_refused_with_its_value(
    tmp_path: Path, run: Run, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(write_task(tmp_path / "task"), **changes)
    assert not (tmp_path / "out").exists()
