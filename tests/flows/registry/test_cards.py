"""The card of a version: what it names, and what it leaves out."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from flows.registry.card import version_card
from flows.registry.starts import PUBLISHED
from stillhouse.errors import InputError
from tasks.phases.teacher import PINNED
from tests.flows.conftest import fill_project


@pytest.mark.parametrize(
    ("data", "teacher", "dataset", "base_model", "license_"),
    [
        (
            {"source": "hub", "hub": {"name": "nyu-mll/glue", "config": "sst2"}},
            "bert-base",
            "nyu-mll/glue",
            "bert-base",
            None,
        ),
        (
            {"source": "files", "files": {"folder": "/home/me/secret", "layout": "table"}},
            "/home/me/mine",
            None,
            None,
            None,
        ),
        ({"source": "docstrings"}, "mpnet-base", None, "sentence-transformers/all-mpnet-base-v2", "apache-2.0"),
    ],
)
def test_a_card_names_what_is_on_the_hub_and_no_folder(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: dict,
    teacher: str,
    dataset: str | None,
    base_model: str | None,
    license_: str | None,
) -> None:
    monkeypatch.chdir(fill_project(made, tmp_path / "project"))
    params = json.loads(Path("params.yaml").read_text())
    changes = {"data": {"kind": "classes", "name": "reviews"} | data, "teacher": {"model": teacher}}
    Path("params.yaml").write_text(json.dumps(params | changes))
    whole, short = version_card("hinton", {"git_commit": "abc", "data_md5": ""})
    metadata = ModelCard(whole).data.to_dict()
    assert metadata.get("datasets") == ([dataset] if dataset else None)
    assert metadata.get("base_model") == ([base_model] if base_model else None)
    assert metadata.get("license") == license_
    assert metadata["model-index"][0]["results"][0]["dataset"]["type"] == (dataset or "reviews")
    assert "- commit: `abc`" in short and "DVC's hash" not in short, "what is not known is not said"
    assert "/home" not in whole and "# stillhouse-reviews: hinton\n" in short


def test_a_card_names_what_students_are_made_of_and_a_licence_only_where_it_is_that_of_all(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(PUBLISHED) == set(PINNED)
    monkeypatch.chdir(fill_project(made, tmp_path / "project"))
    params = json.loads(Path("params.yaml").read_text())
    ours, theirs = "sentence-transformers/all-MiniLM-L6-v2", "google/small"
    for hinton, tinybert, wanted in (
        ({"student": {"from": None}}, {}, [ours]),
        ({"student": {"from": theirs}}, {}, [ours, theirs]),
        # Made of another recipe's, by the name of one of its phases.
        ({"source": "models/tinybert-general"}, {"general": {"student": {"from": theirs}}}, [ours, theirs]),
        ({"source": "models/hinton"}, {"general": {"student": {"from": theirs}}}, [ours]),
    ):
        changes = {"hinton": {"distill": hinton}, "tinybert": tinybert}
        Path("params.yaml").write_text(json.dumps(params | changes))
        whole, short = version_card("hinton", {})
        metadata = ModelCard(whole).data.to_dict()
        assert metadata["base_model"] == wanted and ("license" in metadata) == (wanted == [ours])
        assert f"were made from {' and '.join(wanted)}." in short


def test_a_description_is_no_longer_than_a_registry_keeps(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fill_project(made, tmp_path / "project"))
    card = Path("models/exported/hinton/README.md")
    card.write_text(card.read_text() + "much " * 2000)
    whole, short = version_card("hinton", {})
    assert len(whole) > 10_000 and len(short) == 5_000 and short.endswith(" …")
    card.write_text(card.read_text().replace("## Speed", "## Haste"))
    with pytest.raises(InputError, match=r"README.md' has no section 'Speed': evaluate the model again"):
        version_card("hinton", {})
    card.unlink()
    with pytest.raises(InputError, match=r"hinton/README.md' is missing: run python -m flows.compress hinton"):
        version_card("hinton", {})
