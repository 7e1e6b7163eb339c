"""What the flows refuse before anything runs."""

from pathlib import Path

import pytest

from flows import pipeline
from stillhouse.errors import InputError


def test_a_stage_to_run_again_that_the_recipe_has_not_is_named_with_those_it_has(recipe_project: Path) -> None:
    with pytest.raises(
        InputError, match=r"again = \['no-such'\]: choose among the recipe's stages, prepare, teacher"
    ) as no:
        pipeline.compress.fn("hinton", again=["no-such"])
    assert "\n" not in str(no.value) and not (recipe_project / "models").exists()


def test_a_promotion_of_nothing_asks_for_a_recipe() -> None:
    with pytest.raises(InputError, match="recipe is missing: give its slug, or rollback"):
        pipeline.promote.fn()
