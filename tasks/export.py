"""A checkpoint as model.onnx: `python -m tasks.export --kind classes --model models/pkd --out models/onnx/pkd`."""

import argparse
from pathlib import Path

import stillhouse.models.compact
import stillhouse.models.modeling_bilstm
import stillhouse.models.modeling_bilstm_answers  # noqa: F401 - what the model may be, so that DVC knows of it
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.onnx.export import OPSET, export_onnx
from tasks.kinds.contract import check_head
from tasks.kinds.find import kind_class
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    kind = kind_class(args.kind)
    check_head(kind, args.model)
    with stage_run("export", {"export": {"opset": OPSET}}, [args.model]) as run:
        tokenizer = load_tokenizer(args.model)
        model = load_model(args.model, kind.auto, whole=True)
        with fresh_dir(args.out) as out:
            export_onnx(model, tokenizer, out / "model.onnx", outputs=kind.outputs, per_token=kind.per_token)
        size = (args.out / "model.onnx").stat().st_size
        print(f"{args.out / 'model.onnx'}: {size / 1e6:.1f} MB, opset {OPSET}", flush=True)
        run.log_metrics({"onnx_bytes": size})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.export", description=__doc__)
    parser.add_argument("--kind", required=True, help="of its task, as data.kind says")
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for model.onnx")
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
