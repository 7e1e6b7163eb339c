"""A checkpoint as model.onnx: `python -m tasks.export --model models/tinybert --out models/onnx/tinybert`."""

import argparse
from pathlib import Path
from typing import Any

from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

import stillhouse.models.compact
import stillhouse.models.modeling_bilstm  # noqa: F401 - what the model may be, so that DVC knows of it
from stillhouse.answers.spans import OUTPUTS, is_question_answering
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.onnx.export import OPSET, export_onnx
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    with stage_run("export", {"export": {"opset": OPSET}}, [args.model]) as run:
        tokenizer = load_tokenizer(args.model)
        spans = is_question_answering(args.model)
        model = load_model(args.model, AutoModelForQuestionAnswering if spans else AutoModelForSequenceClassification)
        given: dict[str, Any] = {"outputs": OUTPUTS, "per_token": True} if spans else {}
        with fresh_dir(args.out) as out:
            export_onnx(model, tokenizer, out / "model.onnx", **given)
        size = (args.out / "model.onnx").stat().st_size
        print(f"{args.out / 'model.onnx'}: {size / 1e6:.1f} MB, opset {OPSET}", flush=True)
        run.log_metrics({"onnx_bytes": size})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.export", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for model.onnx")
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
