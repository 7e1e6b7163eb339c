"""Trim a checkpoint's vocabulary: `python -m tasks.trim trim --data … --model … --corpus data/corpus --out …`.

Writes the model and its tokenizer with the pieces that the training rows and the corpus use, and says what share of the
validation rows the smaller tokenizer cuts differently: what that costs, the evaluation says. It takes seconds, so a
killed run starts again.
"""

import argparse
from itertools import chain
from pathlib import Path

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.measure import parameters
from tasks.kinds.find import load_task
from tasks.links.trimming import corpus_texts, say_what_is_cut, texts_of
from tasks.phases.recipe import load_phase
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    trim, params = load_phase(args.recipe, "trim", args.params)
    task = load_task(args.data, args.params)
    kind = task.kind
    others = [args.corpus] if args.corpus != args.data else []
    blocks = {f"{args.recipe}.trim": params, "kinds": {kind.name: kind.numbers}}
    with stage_run("trim", blocks, [args.data, *others, args.model]) as run:
        model, tokenizer = kind.load(args.model), load_tokenizer(args.model)
        texts = list(chain.from_iterable(texts_of(task.train, kind.present)))
        texts += corpus_texts(args.corpus, args.data)
        small, ours = trim(params, model, tokenizer, texts)
        cut = say_what_is_cut(tokenizer, ours, texts_of(task.validation, kind.present))
        print(f"{parameters(small):,} of {parameters(model):,} parameters", flush=True)
        run.log_metrics({"pieces": len(ours), "pieces_before": len(tokenizer)})
        run.log_metrics({"parameters": parameters(small), "parameters_before": parameters(model)})
        run.log_metrics({"rows_cut_differently": cut.rows, "tokens_cut_differently": cut.tokens})
        run.log_metrics({"tokens_for_one": cut.longer})
        with fresh_dir(args.out) as out:
            save_model(small, ours, out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.trim", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint that is trimmed")
    parser.add_argument("--corpus", type=Path, required=True, help="a corpus whose text counts too; the task: none")
    parser.add_argument("--out", type=Path, required=True, help="where the trimmed model goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
