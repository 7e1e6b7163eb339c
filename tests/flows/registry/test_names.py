"""The name of a task, which is that of its registered model."""

import json
from pathlib import Path

import pytest

from flows.registry.names import registered_model, task_name
from stillhouse.errors import InputError


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"source": "docstrings"}, "docstrings"),
        ({"source": "docstrings", "kind": "scores"}, "docstrings"),
        ({"source": "docstrings", "kind": "answers"}, "docstrings-answers"),
        ({"source": "hub", "hub": {"name": "nyu-mll/glue", "config": "sst2"}}, "sst2"),
        ({"source": "hub", "hub": {"name": "stanfordnlp/imdb", "config": None}}, "imdb"),
        ({"source": "files", "files": {"folder": "../glue/CoLA", "layout": "cola"}}, "cola"),
        ({"source": "files", "files": {"folder": "~/data/Reviews", "layout": "table"}}, "reviews"),
        ({"source": "files", "files": {"folder": "x/Bob's Reviews (v2)", "layout": "table"}}, "bob-s-reviews-v2"),
        ({"source": "files", "files": {"folder": "x/a:b", "layout": "table"}}, "a-b"),
        ({"source": "files", "files": {"folder": "x/Reviews/.", "layout": "table"}}, "reviews"),
        (
            {"source": "hub", "hub": {"name": "ann/FAQ", "config": None}, "name": "help", "kind": "answers"},
            "help-answers",
        ),
        ({"source": "files", "files": {"folder": "../sick", "layout": "sick"}}, "sick"),
        ({"source": "files", "files": {"folder": "../sick", "layout": "sick"}, "kind": "scores"}, "sick-scores"),
        ({"source": "files", "files": {"folder": "../stsb", "layout": "stsb"}, "kind": "scores"}, "stsb"),
        ({"source": "files", "files": {"folder": "~/data/FAQ", "layout": "squad"}, "kind": "answers"}, "faq-answers"),
    ],
)
def test_the_task_gives_the_model_its_name(tmp_path: Path, data: dict, name: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps({"data": {"kind": "classes"} | data}))
    assert task_name(file) == name and registered_model(file) == f"stillhouse-{name}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "classes"}, "data.source = None names no task: fill in block `data`"),
        ({"source": "docstrings"}, "data.kind = None names no task"),
        (["docstrings"], r"data = .*: a mapping is expected"),
        ({"kind": "classes", "source": "files", "files": "raw"}, "data.files = 'raw': a mapping is expected"),
        ({"source": "hub", "kind": "answers"}, "data.source = 'hub' names no task"),
        ({"source": "files", "kind": "classes", "files": {"folder": "/"}}, "give the task a name"),
        (
            {"source": "docstrings", "kind": "classes", "name": "My Reviews"},
            "data.name = 'My Reviews': use small letters",
        ),
    ],
)
def test_data_that_name_no_task_are_refused_in_one_line(tmp_path: Path, data: dict, message: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps({"data": data}))
    with pytest.raises(InputError, match=f"params.yaml: .*{message}"):
        task_name(file)
