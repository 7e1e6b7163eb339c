"""What blocks of params.yaml that name a source have in common."""

from pydantic import Field

from tasks.stage.params import Block


class HubParams(Block):
    """`data.hub` and `qa.hub`: a dataset of the Hugging Face hub with two splits."""

    name: str | None = Field(description="Dataset id, such as nyu-mll/glue, or a local folder that `datasets` can read")
    config: str | None = Field(description="Its configuration, such as sst2")
    revision: str | None = Field(description="A commit, tag or branch; null: the newest")
    train_split: str = Field(description="Name of the training split")
    validation_split: str = Field(description="Name of the validation split")


def check_word_limits(fewest: int, most: int) -> None:
    """Refuse limits between which no sentence lies.

    Raises:
        ValueError: `fewest` is above `most`; pydantic adds the block and the key.
    """
    if fewest > most:
        raise ValueError(f"min_words ({fewest}) is above max_words ({most})")
