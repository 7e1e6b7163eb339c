"""The family of an encoder, whether it is plain or compressed."""

COMPACT = "compact-"  # before the family's name in a compressed model's `model_type`


def family(model_type: str) -> str:
    """The family's own name: roberta for compact-roberta."""
    return model_type.removeprefix(COMPACT)
