"""A search with real trials, copies and runners, whose chains are a toy's: `toy_search.py [POOL]`, in its folder."""

import json
import sys
from functools import partial
from pathlib import Path

from flows.dag.copies import wait_until_quiet
from flows.dag.prefect import prefect_flow
from flows.search import workspace
from flows.search.budget import Budget
from flows.search.foresight import Costs
from flows.search.rungs import first_rung, later_rungs
from flows.search.space import SearchParams
from flows.search.study import Trials
from flows.search.trial import Result, Runner
from tasks.stage.params import PARAMS, load, read_yaml


class Judge:
    """Reads what the toy's stage has written: alpha and passes."""

    def result(self, folder: Path, recipe: str) -> Result:
        alpha, passes = map(float, (folder / f"made-{recipe}").read_text().split())
        return Result(alpha + passes / 100, alpha, 100, 1.0)


def search(pool: str) -> None:
    from flows.dag.recipe_run import Parent
    from flows.pipeline import run_stages
    from tasks.tracking.journal import StageRun

    root, params = Path.cwd(), load("search", SearchParams)
    tree = json.loads(json.dumps(read_yaml(PARAMS)))
    folder = root / ".search" / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    wait_until_quiet(folder)
    trials = Trials("toy", folder, params, tree)
    copies = [workspace.make(root, "toy", tree, 1 + each) for each in range(params.at_once if pool else 1)]
    parent = Parent(StageRun(None), "")
    runner = Runner(copies, tree, "toy", Judge(), parent, partial(run_stages, pool=pool))  # type: ignore[arg-type]
    first_rung(trials, runner, lambda recipe, file: Costs(100, 1.0, 100), Budget(onnx_bytes=200))
    results = later_rungs(trials, runner)
    workspace.remove_all_but_one(root, "toy")
    told = [[proposal.number, proposal.values, outcome.value] for proposal, outcome in trials.finished]
    found = {str(number): each.value for number, each in results.items()}
    (root / "found.json").write_text(json.dumps({"trials": told, "last rung": found}))


if __name__ == "__main__":
    with prefect_flow(Path.cwd()):
        from prefect import flow

        flow(name="search", persist_result=False)(search)("".join(sys.argv[1:]))
