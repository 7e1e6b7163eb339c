"""Toy projects: DVC repositories whose stages sleep, copy and fail, and one whose stages copy a real tiny model."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Toy = Callable[..., Path]
ROOT = Path(__file__).parents[2]
WORDS = ["good", "bad", "film", "food", "a", "the", "very"]
LATENCY = {"p50_ms": 1.5, "p99_ms": 2.5, "throughput_per_s": 600.0}
METRICS = {
    "recipe": "hinton",
    "task_metric": "accuracy",
    "value": 0.9,
    "kept": 0.99,
    "parameters": 12_000,
    "nonzero_parameters": 12_000,
    "flops": 80_000,
    "checkpoint_bytes": 50_000,
    "onnx_bytes": 60_000,
    "onnx_max_difference": 1e-6,
    "onnx_rounding": 0.0,
    "examples": 400,
    "metrics": {"accuracy": 0.9},
}

TRAIN = {"precision": "fp32", "max_length": 16, "eval_batch_size": 64, "checkpoint_steps": 100}
TRAIN |= {"warmup": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0, "processes": 1}
EVALUATE = {"metric": "accuracy", "batch_sizes": [1], "tokens": 8, "repeats": 2, "threads": 1}
PARAMS = {"data": {"source": "docstrings"}, "train": TRAIN, "evaluate": EVALUATE}
PROMOTE = {
    "min_kept": 0.95,
    "margin": None,
    "noise": {"standard_errors": 1.0, "resamples": 200, "seed": 1},
    "max_bytes": None,
    "max_latency_p50_ms": None,
    "max_onnx_difference": 1e-3,
    "approval": {"required": False, "hours": 1.0},
}
EXAMPLES = 400


def write_predictions(report: Path, value: float) -> None:
    """What a model of this accuracy says, as `tasks.evaluate` writes it: right on the first rows, wrong on the rest."""
    names = ["no", "yes"]
    right = round(value * EXAMPLES)
    pairs = [(names[row % 2], names[(row + (row >= right)) % 2]) for row in range(EXAMPLES)]
    lines = ["actual,predicted", *(f"{actual},{predicted}" for actual, predicted in pairs)]
    (report / "predictions.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Make a project of the given stages in an empty folder, and go there: `toy({"name": {"cmd": …}}, seed="text")`."""

    def make(stages: dict[str, dict], **files: str) -> Path:
        root = tmp_path / "project"
        root.mkdir()
        for command in ("git init -q", "dvc init -q", "dvc config core.analytics false"):
            subprocess.run(command.split(), cwd=root, check=True)
        for name, text in files.items():
            (root / name).write_text(text)
        # JSON is YAML too.
        (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
        monkeypatch.chdir(root)
        return root

    for name in ("STILLHOUSE_TRACKING", "MLFLOW_TRACKING_URI", "STILLHOUSE_RECIPE", "STILLHOUSE_PARENT_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages of `recipe_project` copy: a random two-layer BERT, its ONNX file, its data and reports."""
    import torch
    from datasets import ClassLabel, Dataset, Features, Value
    from matplotlib import pyplot
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    from stillhouse.encoders.checkpoint import save_model
    from stillhouse.onnx.export import export_onnx

    folder = tmp_path_factory.mktemp("made")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    config.id2label, config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    model = BertForSequenceClassification(config).eval()
    save_model(model, tokenizer, folder / "model")
    (folder / "onnx").mkdir()
    export_onnx(model, tokenizer, folder / "onnx" / "model.onnx")
    (folder / "task").mkdir()
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = Dataset.from_dict({"text": ["good film", "bad film"], "label": [1, 0]}, features=features)
    for split in ("train", "validation"):
        rows.to_parquet(folder / "task" / f"{split}.parquet")
    batches = {"batches": {"1": LATENCY, "32": LATENCY}}
    latency = {"hardware": "a toy", "threads": 1, "runtime": "none", **batches, "teacher": batches["batches"]}
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    (folder / "latency.json").write_text(json.dumps(latency))
    write_predictions(folder, METRICS["value"])
    (folder / "report.md").write_text("# A report\n")
    pyplot.figure(figsize=(1, 1)).savefig(folder / "report.png")
    return folder


def lock_data(root: Path, md5: str) -> None:
    """A dvc.lock that says no more than the task's hash."""
    outs = [{"path": "data/task", "md5": md5}]
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"prepare": {"cmd": "x", "outs": outs}}}))


def evaluated(root: Path, recipe: str, value: float) -> None:
    """As if a recipe had been evaluated again, with this accuracy."""
    folder = root / "reports" / "evaluated" / recipe
    (folder / "metrics.json").write_text(json.dumps(METRICS | {"recipe": recipe, "value": value}))
    write_predictions(folder, value)


def train_again(root: Path, recipe: str, value: float) -> None:
    """As if a recipe had been trained and evaluated again."""
    import torch
    from safetensors.torch import load_file, save_file

    file = root / "models" / recipe / "model.safetensors"
    weights = load_file(file)
    save_file({name: tensor + torch.rand(1) for name, tensor in weights.items()}, file)
    evaluated(root, recipe, value)


def fill_project(made: Path, root: Path) -> Path:
    """What hinton and tinybert have made, without a pipeline that makes it."""
    (root / "data").mkdir(parents=True)
    shutil.copytree(made / "task", root / "data" / "task")
    for recipe in ("hinton", "tinybert"):
        shutil.copytree(made / "model", root / "models" / recipe)
        shutil.copytree(made / "onnx", root / "models" / "onnx" / recipe)
        (root / "reports" / "evaluated" / recipe).mkdir(parents=True)
        for name in ("metrics.json", "latency.json", "predictions.csv"):
            shutil.copy(made / name, root / "reports" / "evaluated" / recipe)
    shutil.copytree(root / "reports" / "evaluated" / "hinton", root / "reports" / "evaluated" / "teacher")
    lock_data(root, "abc.dir")
    (root / "params.yaml").write_text(json.dumps(PARAMS | {"promote": PROMOTE}))
    return root


@pytest.fixture
def recipe_project(toy: Toy, made: Path) -> Path:
    """A project with the recipes hinton and tinybert, whose stages copy what a real run would make."""

    def copy(source: str, target: str, *deps: str, dvc_key: str = "outs") -> dict:
        parent = Path(target).parent
        return {
            "cmd": f"mkdir -p {parent} && rm -rf {target} && cp -r {made / source} {target}",
            "deps": list(deps),
            dvc_key: [target],
        }

    slugs = ["hinton", "tinybert"]
    root = toy(
        {
            "prepare": copy("task", "data/task", "seed"),
            "teacher": copy("model", "models/teacher", "data/task"),
            "evaluate-teacher": copy("metrics.json", "reports/evaluated/teacher/metrics.json", "models/teacher"),
            "hinton": copy("model", "models/hinton", "models/teacher"),
            "tinybert": copy("model", "models/tinybert", "models/teacher"),
            "export": {"foreach": slugs, "do": copy("onnx", "models/onnx/${item}", "models/${item}")},
            "evaluate": {
                "foreach": slugs,
                "do": {
                    "cmd": "mkdir -p reports/evaluated/${item} && cp "
                    f"{made / 'metrics.json'} {made / 'latency.json'} {made / 'predictions.csv'} "
                    "reports/evaluated/${item}",
                    "deps": ["models/onnx/${item}", "reports/evaluated/teacher/metrics.json"],
                    "metrics": ["reports/evaluated/${item}/metrics.json", "reports/evaluated/${item}/latency.json"],
                    "outs": ["reports/evaluated/${item}/predictions.csv"],
                },
            },
            "report": {
                "foreach": slugs,
                "do": {
                    "cmd": "mkdir -p reports/${item} && "
                    f"cp {made / 'report.md'} {made / 'report.png'} reports/${{item}}",
                    "deps": ["reports/evaluated/${item}/metrics.json"],
                    "outs": ["reports/${item}/report.md", "reports/${item}/report.png"],
                },
            },
            "compare": {
                "cmd": f"mkdir -p reports/compare && cp {made / 'report.md'} {made / 'report.png'} reports/compare",
                "deps": [f"reports/evaluated/{slug}/metrics.json" for slug in slugs],
                "outs": ["reports/compare"],
            },
        },
        seed="x",
    )
    params = PARAMS | {"promote": PROMOTE}
    (root / "params.yaml").write_text(json.dumps(params))
    return root


@pytest.fixture
def compressed(recipe_project: Path) -> Path:
    """The same with all of `hinton` made, by one `dvc repro`."""
    subprocess.run(["dvc", "repro", "-q", "report@hinton"], cwd=recipe_project, check=True)
    return recipe_project
