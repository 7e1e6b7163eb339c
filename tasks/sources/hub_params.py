"""Where on the Hugging Face hub a task is: `data.hub` and `qa.hub`."""

from pydantic import Field

from tasks.stage.params import Block


class HubParams(Block):
    """A dataset of the Hugging Face hub with two splits."""

    name: str | None = Field(description="Dataset id, such as nyu-mll/glue, or a local folder that `datasets` can read")
    config: str | None = Field(description="Its configuration, such as sst2")
    revision: str | None = Field(description="A commit, tag or branch; null: the newest")
    train_split: str = Field(description="Name of the training split")
    validation_split: str = Field(description="Name of the validation split")
