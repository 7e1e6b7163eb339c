"""`report` of params.yaml: what the page that one looks at in a browser quotes of the data."""

from pydantic import Field

from tasks.stage.params import Block


class ReportParams(Block):
    """`report`: how much of the data the page in HTML quotes."""

    rows: int = Field(ge=0, description="Rows that a model gets wrong and the teacher right; 0: no text is quoted")
    characters: int = Field(gt=0, description="Of a text that is quoted, at most")
