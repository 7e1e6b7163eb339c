"""The last links of a recipe's student: `python -m tasks.finish hinton --data … --model … --corpus … --out …`.

Trims its vocabulary, makes its word vectors thinner, puts its weights into eight bits, as the block `finish` says.
Nothing is trained. A link that the student has already, or that it does not take, is left out, in a line; where no link
is left, the student is copied. It takes seconds, so a killed run starts again.
"""

import argparse
import shutil
from pathlib import Path

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.measure import checkpoint_bytes
from tasks.kinds.find import load_task
from tasks.links.chain import finished
from tasks.links.params import FinishParams
from tasks.links.trimming import corpus_texts
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, load
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    finish = load("finish", FinishParams, args.params)
    links = finish.links(args.recipe)
    task = load_task(args.data, args.params)
    kind = task.kind
    corpus = [args.corpus] if args.corpus != args.data else []
    blocks = {"finish": links, "kinds": {kind.name: kind.numbers}}
    with stage_run("finish", blocks, [args.data, *corpus, args.model]) as run:
        others = corpus_texts(args.corpus, args.data)
        made = finished(links, kind.load(args.model), load_tokenizer(args.model), task, others)
        with fresh_dir(args.out) as out:
            if made is None:
                print(f"no link is left for {args.recipe}: its student is copied as it is", flush=True)
                shutil.copytree(args.model, out, dirs_exist_ok=True)
            else:
                save_model(*made, out)
        before, after = checkpoint_bytes(args.model), checkpoint_bytes(args.out)
        print(f"{args.recipe}: {before / 1e6:.2f} MB plain, {after / 1e6:.2f} MB finished", flush=True)
        run.log_metrics({"checkpoint_bytes_before": before, "checkpoint_bytes": after})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.finish", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="its slug, which finish.of names")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--model", type=Path, required=True, help="the recipe's student")
    parser.add_argument("--corpus", type=Path, required=True, help="whose text `trim` counts too; the task: none")
    parser.add_argument("--out", type=Path, required=True, help="where the finished student goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
