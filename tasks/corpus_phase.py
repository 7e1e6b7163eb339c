"""General distillation on the corpus: `python -m tasks.corpus_phase tinybert --corpus data/corpus --out …`.

The teacher is `teacher.model`, before any fine-tuning, or the masked LM that was made of it. The student has no head:
the task phases give it one.
"""

import argparse
from pathlib import Path

from transformers import AutoModel, AutoModelForMaskedLM

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.encoders.fits import check_fit
from tasks.data.dataset import load_split
from tasks.phases.recipe import load_phase
from tasks.phases.run import Given, train_student
from tasks.phases.teacher import TeacherParams, teacher_source
from tasks.stage import launch
from tasks.stage.params import PARAMS, TrainParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    plan, params = load_phase(args.recipe, "general", args.params)
    train = load("train", TrainParams, args.params)
    name = load("teacher", TeacherParams, args.params).model
    reads = [path for path in (args.corpus, args.mlm) if path]
    blocks = {f"{args.recipe}.general": params, "train": train, "teacher": {"model": name}}
    with stage_run("corpus_phase", blocks, reads) as run:
        work = workspace(f"{args.recipe}-general", reads, [params, train, name])
        source = args.mlm or teacher_source(name)
        teacher = load_model(source, AutoModelForMaskedLM if args.mlm else AutoModel)
        rows, tokenizer = load_split(args.corpus / "corpus.parquet"), load_tokenizer(source)
        lengths = {"train.max_length": train.max_length}
        check_fit(source, teacher.config, tokenizer, lengths, pair="text_pair" in rows.column_names)
        given = Given(rows, None, tokenizer, teacher)
        train_student(plan(params, given), given, train, work, run, args.out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.corpus_phase", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--corpus", type=Path, required=True, help="the text")
    parser.add_argument("--mlm", type=Path, help="a masked LM that teaches; default: teacher.model without a head")
    parser.add_argument("--out", type=Path, required=True, help="where the student goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    launch.run(main)
