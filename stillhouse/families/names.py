"""The name of an encoder's family, whether the encoder is plain or compressed."""

COMPACT = "compact-"  # before the family's name in a compressed model's `model_type`


def family_name(model_type: str) -> str:
    """The family's own name: roberta for compact-roberta."""
    return model_type.removeprefix(COMPACT)
