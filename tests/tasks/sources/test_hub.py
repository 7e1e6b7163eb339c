from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from stillhouse.errors import InputError
from tasks.sources.blocks import HubParams
from tasks.sources.hub import load_split, read_hub, read_hub_questions
from tasks.sources.survey import survey

COLUMNS = {"text": "sentence", "label": "label"}
SPLITS = ("train", "test")


def params(name: object, config: str | None = None, splits: tuple[str, str | None] = SPLITS) -> HubParams:
    train, validation = splits
    named = {"name": str(name), "config": config, "revision": None, "train_split": train}
    return HubParams.model_validate(named | {"validation_split": validation, "test_split": None})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset as the hub has them: one Parquet file a split, label names in the features, an unlabelled split."""
    data = tmp_path / "films"
    data.mkdir()
    features = Features({"idx": Value("int32"), "sentence": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    for split, labels in (("train", [1, 0, 1]), ("test", [0, 1]), ("unlabelled", [-1])):
        rows = {
            "idx": list(range(len(labels))),
            "sentence": [f" Sentence {i} of {split}." for i in labels],
            "label": labels,
        }
        Dataset.from_dict(rows, features=features).to_parquet(data / f"{split}-00000-of-00001.parquet")
    card = "".join(f"  - split: {s}\n    path: {s}-*.parquet\n" for s in ("train", "test", "unlabelled"))
    (data / "README.md").write_text(f"---\nconfigs:\n- config_name: plain\n  data_files:\n{card}---\n")
    return data


def test_label_names_come_from_the_datasets_features(folder: Path) -> None:
    source = read_hub(params(folder, "plain"), COLUMNS)
    assert source.labels == ("no", "yes")
    assert [dict(row) for _, row in source.splits["validation"].rows()] == [
        {"text": "Sentence 0 of test.", "label": "no"},
        {"text": "Sentence 1 of test.", "label": "yes"},
    ]
    found, labels = survey(source, None)
    assert (found["train"].rows, found["validation"].rows, labels) == (3, 2, ("no", "yes"))


@pytest.mark.parametrize(
    ("config", "splits", "columns", "message"),
    [
        ("nope", SPLITS, COLUMNS, "configuration 'nope': BuilderConfig 'nope' not found. Available: .*plain"),
        ("plain", ("train", "dev"), COLUMNS, "Unknown split \"dev\". Should be one of .*'test'"),
        ("plain", SPLITS, {"text": "said", "label": "label"}, "no column 'said': it has idx, sentence, label"),
    ],
)
def test_what_a_dataset_has_not_is_named_with_what_it_has(
    folder: Path, config: str, splits: tuple[str, str], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_hub(params(folder, config, splits), columns)


def test_a_split_without_labels_is_refused(folder: Path) -> None:
    source = read_hub(params(folder, "plain", ("train", "unlabelled")), COLUMNS)
    with pytest.raises(InputError, match="split 'unlabelled', row 0: it has no labels"):
        survey(source, None)


def test_question_answering_needs_no_columns(tmp_path: Path) -> None:
    rows = {
        "id": ["a"],
        "title": ["t"],
        "context": ["It is copper."],
        "question": ["What?"],
        "answers": [{"text": ["copper"], "answer_start": [6]}],
    }
    for split in SPLITS:
        Dataset.from_dict(rows).to_parquet(tmp_path / "qa" / f"{split}.parquet")
    source = read_hub_questions(params(tmp_path / "qa"))
    assert [row for _, row in source.splits["train"].rows()] == [
        {name: values[0] for name, values in rows.items() if name != "title"}
    ]


def test_a_dataset_without_questions_is_no_question_answering(folder: Path) -> None:
    with pytest.raises(InputError, match="no column 'id': it has idx, sentence, label"):
        read_hub_questions(params(folder, "plain"))


def test_a_folder_that_is_not_there_is_a_fault_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load_split(str(tmp_path / "nowhere"), None, None, "train")


def test_a_hub_that_cannot_be_reached_is_passing_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="dataset 'nyu-mll/glue', configuration 'sst2'"):
        load_split("nyu-mll/glue", "sst2", None, "train")
