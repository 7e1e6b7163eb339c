"""`python -m flows.watch SLUG`: run a recipe again if what lies behind its data has changed; else look, for a second.

`flows.dag.sources` says what is compared.
"""

import argparse
from pathlib import Path

from flows.dag.sources import changed, nothing_new
from tasks.stage import program


def main() -> None:
    """Run a recipe again if what lies behind its data has changed."""
    parser = argparse.ArgumentParser(prog="python -m flows.watch", description=main.__doc__)
    parser.add_argument("recipe", help="a slug, such as tinybert")
    recipe = parser.parse_args().recipe
    root = Path.cwd()
    new, _ = changed(root, recipe)
    if not new:
        print(nothing_new(recipe))
        return
    print(f"{recipe}: changed since its last watched run: what {', '.join(new)} reads", flush=True)
    from flows.dag.prefect import prefect_flow

    with prefect_flow(root):
        from flows.pipeline import watch

        print(f"\n{watch(recipe)}")


if __name__ == "__main__":
    program.run(main)
