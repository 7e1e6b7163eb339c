"""Whatever is wrong with parameters, data, checkpoints, flows or the registry: one clear line, and nothing has changed.

Each case breaks one thing in a copy of a project, runs a program in this process, and wants: a non-zero exit, one line
on stderr that says what the table says, no traceback, and the same files and the same registry as before.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from flows import compare, compress, promote, publish, reproduce, serve
from flows.registry.versions import register
from stillhouse.onnx.export import export_onnx
from tasks import code, evaluate, export, finetune, prepare, profile, task_phase
from tasks.stage import program
from tasks.tracking.store import open_store
from tests import tiny
from tests.flows.conftest import write_evaluated, write_exported
from tests.guards.breaks import (
    NAME,
    Break,
    block,
    both,
    config,
    gone,
    labelled,
    not_a_number,
    nothing,
    params,
    squad,
    stranger,
    table,
    tag,
    tagged,
    text,
    weights,
)
from tests.tasks import project

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """What is broken, what is run, and what the one line has to say."""

    name: str
    broken: Break
    module: Any
    words: str
    says: str


PREPARE, CORPUS = (f"{what} --out out" for what in ("task", "corpus"))
FINETUNE = "--data data/task --out out/teacher --route out/route"
EXPORT = "--kind classes --model models/teacher --out out"
EVALUATE = "teacher --data data/task --model models/teacher --onnx models/onnx/teacher --out out"
REPORT = "reports/evaluated/teacher"
STUDENT = f"{EVALUATE} --teacher {REPORT} --teacher-onnx models/onnx/teacher"
DISTILL = "hinton --data data/task --teacher models/teacher --out out"
SQUAD = {"folder": "raw", "train": None, "validation": None, "test": None, "layout": "squad"}
CHAMPION = f"models:/{NAME}@champion"

CASES = [
    # Parameters
    Case("no params.yaml", gone("params.yaml"), prepare, PREPARE, "params.yaml: no such file"),
    Case("no YAML", text("params.yaml", "data: [1"), prepare, PREPARE, "params.yaml: not valid YAML"),
    Case("a list", text("params.yaml", "[1]"), prepare, PREPARE, "expected a mapping of blocks, found list"),
    Case("no block", block(lambda t: t.pop("train")), finetune, FINETUNE, "block 'train' is missing"),
    Case("a block that is a number", block(lambda t: t.update(train=3)), finetune, FINETUNE, "train = 3"),
    Case(
        "data that are a list", block(lambda t: t.update(data=["a"])), code, "--out out", "data = \"['a']\": a mapping"
    ),
    Case("a name that no file has", params(teacher__model="a\0b"), code, "--out out", "teacher.model = 'a\\x00b': no"),
    Case("data of a flow that are a list", block(lambda t: t.update(data=["a"])), promote, "hinton", "data = "),
    Case("an unknown key", block(lambda t: t["teacher"].update(flor=1)), finetune, FINETUNE, "teacher.flor = 1 is not"),
    Case("a key left out", block(lambda t: t["teacher"].pop("floor")), finetune, FINETUNE, "teacher.floor is missing"),
    Case("text for a number", params(train__warmup="0.1"), finetune, FINETUNE, "train.warmup = '0.1'"),
    Case("a share above one", params(train__warmup=1.5), finetune, FINETUNE, "train.warmup = 1.5"),
    Case("no epochs", params(teacher__phase__epochs=0.0), finetune, FINETUNE, "teacher.phase.epochs = 0.0"),
    Case(
        "a negative rate",
        params(hinton__distill__phase__learning_rate=-1.0),
        task_phase,
        DISTILL,
        "learning_rate = -1.0",
    ),
    Case("an unknown precision", params(train__precision="fp8"), finetune, FINETUNE, "train.precision = 'fp8'"),
    Case("a metric of scores", params(evaluate__metric="pearson"), finetune, FINETUNE, "evaluate.metric = 'pearson'"),
    Case("labels twice", params(data__labels=["a", "a"]), prepare, PREPARE, "a name stands twice"),
    Case("no rows wanted", params(data__train_limit=0), prepare, PREPARE, "data.train_limit = 0"),
    Case("no such teacher", params(teacher__model="./nowhere"), finetune, FINETUNE, "'./nowhere'"),
    Case("a deeper student", params(hinton__distill__student__layers=9), task_phase, DISTILL, "9"),
    Case(
        "an ensemble's name that is a path",
        block(lambda t: t.update(ensemble={"../x": {"seed": 1}})),
        *(finetune, f"{FINETUNE} --seed 1", "ensemble.../x"),
    ),
    Case("an unknown profile", nothing, profile, "nosuch", "profile 'nosuch': no such profile"),
    Case("a profile that is a path", text("x.yaml", "data: {seed: 1}"), profile, "../x", "profile '../x': no such"),
    Case("a profile of unknown keys", text("profiles/p.yaml", "data: {sede: 1}"), profile, "p", "data.sede = 1"),
    Case("a kind that is none", params(data__kind="clases"), prepare, PREPARE, "data.kind = 'clases' is not one of"),
    Case("another kind than the data's", params(data__kind="scores"), finetune, FINETUNE, "'data/task' holds classes"),
    Case(
        "a block of before", block(lambda t: t.update(windows={})), code, "--out out", "'windows' is now kinds.answers"
    ),
    Case(
        "scores said as before", params(data__labels=[]), prepare, PREPARE, "scores are said by data.kind: scores now"
    ),
    Case(
        "a layout of another kind",
        params(data__source="files", data__files__layout="stsb", data__files__folder="raw"),
        prepare,
        PREPARE,
        "data.files.layout = 'stsb' is of scores, data.kind = 'classes'",
    ),
    # Data
    Case("hub without a name", params(data__source="hub"), prepare, PREPARE, "data.hub.name = null"),
    Case(
        "one file twice",
        table("text\tlabel\na\tgood\nb\tbad\n", data__files__test="train.tsv"),
        prepare,
        PREPARE,
        "both train and test",
    ),
    Case(
        "splits that overlap",
        *(table("text\tlabel\na good film\tgood\na dull plot\tbad\n"), prepare, PREPARE),
        "validation: 2 of 2 rows are training rows too",
    ),
    Case(
        "a share without a row",
        table("text\tlabel\na\tgood\nb\tbad\n", data__files__validation=None, data__validation_share=1e-9),
        *(prepare, PREPARE, "data.validation_share: "),
    ),
    Case(
        "a position of a file with a header",
        table(
            '{"text": "a", "label": "b"}',
            "train.jsonl",
            data__columns={"text": 1, "text_pair": None, "label": 2, "probabilities": None},
        ),
        *(prepare, PREPARE, "data.columns has positions, a .jsonl names its columns"),
    ),
    Case("files without a folder", params(data__source="files"), prepare, PREPARE, "data.files.folder = None"),
    Case("a library that is a path", params(data__docstrings__libraries=["numpy", "../x"]), prepare, PREPARE, "'../x'"),
    Case("no such library", params(corpus__libraries=["numpyy"]), prepare, CORPUS, "'numpyy' is not installed"),
    Case("a corpus without a folder", params(corpus__source="files"), prepare, CORPUS, "corpus.folder"),
    Case(
        "no such file", both(table(""), gone("raw/train.tsv")), prepare, PREPARE, "is missing: the folder has dev.tsv"
    ),
    Case("an empty file", table(""), prepare, PREPARE, "train.tsv"),
    Case("a head alone", table("text\tlabel\n"), prepare, PREPARE, "train.tsv"),
    Case("a spreadsheet", table("", "train.xlsx"), prepare, PREPARE, "unknown format '.xlsx'"),
    Case(
        "a ragged line", table("text\tlabel\na\tgood\nb\n"), prepare, PREPARE, "line 3: 1 fields where 2 are expected"
    ),
    Case("other letters", table(b"text\tlabel\n\xff\tgood\n"), prepare, PREPARE, "not UTF-8 text (byte 0xff)"),
    Case("broken JSON", table('{"text": ', "train.jsonl"), prepare, PREPARE, "line 1: not valid JSON"),
    Case("JSON of numbers", table("[1, 2]", "train.json"), prepare, PREPARE, "row 1: a int where an object"),
    Case("no Parquet", table("PAR0", "train.parquet"), prepare, PREPARE, "not a readable Parquet file"),
    Case("another column", table("words\tlabel\na\tgood\nb\tbad\n"), prepare, PREPARE, "'text'"),
    Case("an empty text", table("text\tlabel\n \tgood\nb\tbad\n"), prepare, PREPARE, "train.tsv"),
    Case("one label", table("text\tlabel\na\tgood\nb\tgood\n"), prepare, PREPARE, "label"),
    Case(
        "an unknown label", table("text\tlabel\na\tok\nb\tbad\n", data__labels=["bad", "good"]), prepare, PREPARE, "ok"
    ),
    Case(
        "a score beyond 32 bits", table("text\tlabel\na\t1e39\nb\t1\n", data__kind="scores"), prepare, PREPARE, "1e39"
    ),
    Case("a score of Python's", table("text\tlabel\na\t1_000\nb\t1\n", data__kind="scores"), prepare, PREPARE, "1_000"),
    Case("a label that is nan", table("text\tlabel\na\tnan\nb\tbad\n"), prepare, PREPARE, "as programs write an empty"),
    Case(
        "a list as label",
        table(
            '{"text": "a", "label": ["bad"]}',
            "train.jsonl",
            data__columns={"text": "text", "text_pair": None, "label": "label", "probabilities": None},
        ),
        prepare,
        PREPARE,
        "line 1: the label is ['bad']: one label is expected",
    ),
    Case("a column twice", table("text\tlabel\tlabel\na\tb\tc\n"), prepare, PREPARE, "column 'label' stands twice"),
    Case(
        "half a surrogate pair",
        table('{"text": "a \\ud83d", "label": "b"}', "train.jsonl"),
        prepare,
        PREPARE,
        "line 1: column 'text' holds half of a surrogate pair",
    ),
    Case(
        "a whole table in an object",
        table('{"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}}', "train.json"),
        prepare,
        PREPARE,
        "write the table a row a line",
    ),
    Case("indented JSON", table('{\n "text": "a"\n}', "train.json"), prepare, PREPARE, "an object a line is expected"),
    Case("a score in words", table("text\tlabel\na\tmuch\nb\t1\n", data__kind="scores"), prepare, PREPARE, "much"),
    Case(
        "questions in another layout",
        both(
            params(data__kind="answers", data__source="files", data__files=SQUAD),
            text("raw/train.json", '{"data": [{"paragraphs": [{"qas": [{}]}]}]}'),
            text("raw/dev.json", '{"data": []}'),
        ),
        *(prepare, PREPARE, "raw/train.json: not in SQuAD's layout"),
    ),
    Case("a tag of no scheme", tagged("Ada\tB-PER\nof\tO\nRome\tX-LOC\n"), prepare, PREPARE, "'X-LOC' is of no scheme"),
    Case("a word without a tag", tagged("Ada\tB-PER\nof\n"), prepare, PREPARE, "raw/train.conll, line 2: 1 columns"),
    Case(
        "words and tags of different counts",
        *(labelled({"text": ["a", "b"], "label": ["O"]}, "tokens"), prepare, PREPARE),
        "line 2: 2 words and 1 labels: each word has one",
    ),
    Case(
        "a sentence without a word",
        *(labelled({"text": [], "label": []}, "tokens"), prepare, PREPARE, "line 2: no words: leave the row out"),
    ),
    Case(
        "a span beyond its text",
        *(labelled({"text": "Ada L", "label": [[0, 9, "PER"]]}, "tokens"), prepare, PREPARE),
        "line 2: span 0 to 9 is not in its text of 5 characters",
    ),
    Case(
        "a span that begins inside a word",
        *(labelled({"text": "Ada L", "label": [[1, 5, "PER"]]}, "tokens"), prepare, PREPARE),
        "line 2: span 1 to 5, 'da L', does not begin and end where words do: the words in it are 0 to 5, 'Ada L'",
    ),
    Case(
        "an answer beyond its context",
        both(
            params(data__kind="answers", data__source="files", data__files=SQUAD),
            text("raw/train.json", squad("a good film", 20)),
            text("raw/dev.json", squad("a dull plot", 2)),
        ),
        *(prepare, PREPARE, "question 1: answer 'good' is not at 20 in its context"),
    ),
    Case(
        "an unknown name among several labels",
        labelled({"text": "a", "label": "joy,rage"}, "multi-label", labels=["joy", "love"]),
        *(prepare, PREPARE, "line 2: unknown label 'rage': known are joy, love"),
    ),
    Case(
        "a label that no row has",
        labelled({"text": "a", "label": "good"}, "multi-label", labels=["bad", "good", "joy"]),
        *(prepare, PREPARE, "no row has the label 'bad' (1 of 3 labels have none)"),
    ),
    Case(
        "a probability above one",
        labelled({"text": "a", "label": [1.5, -0.5]}, "classes", labels=["bad", "good"]),
        *(prepare, PREPARE, "line 2: the probability of 'bad' is 1.5: a number from 0 to 1 is expected"),
    ),
    Case(
        "a probability above one, of several labels",
        labelled({"text": "a", "label": [0.5, 1.01]}, "multi-label", labels=["bad", "good"]),
        *(prepare, PREPARE, "line 2: the probability of 'good' is 1.01: a number from 0 to 1 is expected"),
    ),
    Case(
        "probabilities that do not add up",
        labelled({"text": "a", "label": [0.5, 0.6]}, "classes", labels=["bad", "good"]),
        *(prepare, PREPARE, "line 2: the probabilities add up to 1.1, not to 1"),
    ),
    Case("no data yet", gone("data/task"), finetune, FINETUNE, "data/task/train.parquet' is missing: run the stage"),
    Case("data that are none", text("data/task/train.parquet", "x"), finetune, FINETUNE, "is not a Parquet file"),
    Case("cut data", text("data/task/train.parquet", "PAR1xx"), finetune, FINETUNE, "data/task/train.parquet"),
    # Checkpoints
    Case("no checkpoint", gone("models/teacher"), export, EXPORT, "'models/teacher': no such checkpoint folder"),
    Case("no config", gone("models/teacher/config.json"), export, EXPORT, "config.json is missing"),
    Case("a broken config", text("models/teacher/config.json", "{"), export, EXPORT, "'models/teacher'"),
    Case("a config of nothing", text("models/teacher/config.json", "[]"), export, EXPORT, "'models/teacher'"),
    Case("an unknown model", config(model_type="mamba9"), export, EXPORT, "'models/teacher'"),
    Case("another shape", config(hidden_size=48), export, EXPORT, "'models/teacher'"),
    Case("no weights", gone("models/teacher/model.safetensors"), export, EXPORT, "model.safetensors is missing"),
    Case("cut weights", weights(lambda content: content[:-100]), export, EXPORT, "damaged weights"),
    Case("empty weights", weights(lambda _: b""), export, EXPORT, "damaged weights"),
    Case("no tokenizer", gone("models/teacher/tokenizer.json"), export, EXPORT, "'models/teacher'"),
    Case("a broken tokenizer", text("models/teacher/tokenizer.json", "{"), export, EXPORT, "no usable tokenizer"),
    Case("weights of NaN", not_a_number, evaluate, EVALUATE, "predictions are not numbers"),
    Case("another label", config(id2label={"0": "bad", "1": "ugly"}), evaluate, EVALUATE, "ugly"),
    Case(
        "a head of another kind",
        config(architectures=["BertForTokenClassification"]),
        *(evaluate, EVALUATE, "is a BertForTokenClassification, classes want a model …ForSequenceClassification"),
    ),
    Case(
        "a teacher's head of another kind",
        config(architectures=["BertForQuestionAnswering"]),
        *(task_phase, DISTILL, "is a BertForQuestionAnswering, classes want a model …ForSequenceClassification"),
    ),
    Case(
        "the same head for another problem",
        config(problem_type="multi_label_classification"),
        *(task_phase, DISTILL, "is a model of multi_label_classification (problem_type"),
    ),
    Case("no graph", gone("models/onnx/teacher/model.onnx"), evaluate, EVALUATE, "model.onnx' is missing"),
    Case("a broken graph", text("models/onnx/teacher/model.onnx", "x"), evaluate, EVALUATE, "damaged ONNX file"),
    Case("no teacher's report", gone(REPORT), evaluate, STUDENT, "evaluate the teacher first"),
    Case("a broken report", text(f"{REPORT}/metrics.json", "{"), evaluate, STUDENT, f"{REPORT}/metrics.json"),
    Case("half of a pair", nothing, evaluate, f"{EVALUATE} --teacher {REPORT}", "--teacher and --teacher-onnx"),
    Case("an unknown recipe's file", nothing, task_phase, DISTILL.replace("hinton", "../x", 1), "recipe '../x'"),
    # Flows
    Case("an unknown recipe", nothing, compress, "tinybrt", "recipe = 'tinybrt' is unknown: choose one of hinton"),
    Case("no project", gone(".dvc"), compress, "hinton", "not a DVC project"),
    Case("a broken DAG", text("dvc.yaml", "stages: ["), compress, "hinton", "dvc.yaml"),
    Case("a DAG without a comparison", nothing, compare, "", "stage 'compare' is not in dvc.yaml"),
    Case("a broken lock", text("dvc.lock", "schema: ["), compress, "hinton", "dvc.lock"),
    Case("tracking neither on nor off", nothing, export, EXPORT, "STILLHOUSE_TRACKING = 'maybe'"),
    # Registry
    Case("nothing to promote", nothing, promote, "", "recipe is missing: give its slug"),
    Case("a recipe without a version", nothing, promote, "pkd", f"recipe 'pkd' has no version of {NAME}"),
    Case("a first champion rolled back", nothing, promote, "--rollback", "has no previous champion"),
    Case("no resamples", params(promote__noise__resamples=0), promote, "hinton", "promote.noise.resamples = 0"),
    Case("no time to answer", params(promote__approval__hours=0.0), promote, "hinton", "promote.approval.hours = 0.0"),
    Case("a fact that is no number", tag(kept="much"), promote, "hinton", "its tag 'kept' = 'much' is no number"),
    Case(
        "a metric that nobody knows",
        tag(task_metric="bleu"),
        promote,
        "hinton",
        "metric 'bleu' does not fit these rows",
    ),
    Case("an evaluation that is a path", tag(evaluation="../../x"), promote, "hinton", "evaluation = '../../x' is no"),
    Case("a version of nobody's", stranger, promote, "hinton", "version 2 has no run"),
    Case("a model by its name alone", nothing, serve, NAME, f"model = '{NAME}': give models:/NAME@champion"),
    Case("a version beyond all", nothing, serve, f"models:/{NAME}/{'9' * 20} --check", "give models:/NAME@champion"),
    Case("no such version", nothing, serve, f"models:/{NAME}/9 --check", "is not in the registry"),
    Case("a version without digests", tag(files_sha256=""), serve, f"{CHAMPION} --check", "carries no digest"),
    Case("other weights", tag(weights_sha256="0" * 64), serve, f"{CHAMPION} --check", "its weights have sha256"),
    Case("an id that the hub has not", nothing, publish, f"{CHAMPION} --to me", "--to 'me' is no id of the hub"),
    Case("a card that is nowhere", tag(evaluation="0" * 16), publish, f"{CHAMPION} --to me/it", "has no card"),
    Case(
        "a card that is a path", tag(evaluation="../../x"), publish, f"{CHAMPION} --to me/it", "evaluation = '../../x'"
    ),
    Case("weights to be pushed", tag(weights_sha256="0" * 64), publish, f"{CHAMPION} --to me/it", "its weights have"),
    Case("a version of no commit", tag(git_commit="main; rm"), reproduce, CHAMPION, "git_commit = 'main; rm' is no"),
    Case("a version of no recipe", tag(recipe="../../x"), reproduce, CHAMPION, "recipe = '../../x' is no slug"),
    Case(
        "a folder that is there", tag(git_commit="0" * 40), reproduce, f"{CHAMPION} --to data", "--to data: it is there"
    ),
    Case("a store of another kind", nothing, promote, "hinton", "ftp://nowhere"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with nothing wrong: data, a teacher and its ONNX file and report, and version 1, the champion."""
    root = tmp_path_factory.mktemp("whole")
    Repo.init(str(root), no_scm=True).close()
    (root / "dvc.yaml").write_text(
        json.dumps({"stages": {"report": {"foreach": ["hinton"], "do": {"cmd": "true", "outs": ["r"]}}}})
    )
    (root / "profiles").mkdir()
    project.params(root, **{"promote.min_kept": 0.5})
    project.fill(root)
    shutil.copytree(root / "models/teacher", root / "models/hinton")
    (root / "models/onnx/teacher").mkdir(parents=True)
    model = tiny.bert(layers=4, seed=3)
    export_onnx(model, tiny.tokenizer(), root / "models/onnx/teacher/model.onnx")
    shutil.copytree(root / "models/onnx/teacher", root / "models/onnx/hinton")
    write_exported(root / "models/hinton", root / "models/onnx/hinton", root / "models/exported/hinton")
    for name in ("teacher", "hinton"):
        write_evaluated(root / "reports/evaluated" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register("hinton")
        assert promote.try_to_promote("hinton").promoted
    return root


def test_there_are_cases_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) == len({case.name for case in CASES}) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gives_one_line_and_changes_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    root = tmp_path / "project"
    # The version's files stay where they were registered.
    shutil.copytree(whole, root, ignore=shutil.ignore_patterns("artifacts", ".cache"))
    monkeypatch.chdir(root)
    for name in ("MLFLOW_TRACKING_URI", "STILLHOUSE_RECIPE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "maybe" if "tracking" in case.name else "off")
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))
    case.broken(root)
    registered = case.module in (promote, serve, reproduce, publish)
    before = files(root), files(whole / "mlruns"), registry() if registered else None
    if "another kind" in case.name:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://ada:pw@nowhere/x")
    monkeypatch.setattr("sys.argv", ["program", *case.words.split()])
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        program.run(case.module.main)
    line = capsys.readouterr().err
    assert left.value.code in (program.EXIT_INPUT, program.EXIT_TRANSIENT)
    assert line.startswith("error: ") and line.count("\n") == 1 and case.says in line, line
    assert "pw@" not in line
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert (files(root), files(whole / "mlruns"), registry() if registered else None) == before


def files(root: Path) -> dict[str, str]:
    """What lies in a folder; DVC's and MLflow's own bookkeeping apart."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file() and not {".dvc", "mlflow.db", ".init.lock"} & set(file.relative_to(root).parts)
    }


def registry() -> list[dict]:
    """All that the registry says."""
    client, _ = open_store()
    return [
        {"model": model.name, "tags": model.tags, "aliases": model.aliases, "versions": versions}
        for model in client.search_registered_models()
        for versions in [{v.version: v.tags for v in client.search_model_versions(f"name = '{model.name}'")}]
    ]
