"""RoBERTa (Liu et al. 2019, arXiv 1907.11692), and its multilingual and French siblings, which are the same code.

Positions are numbered from the padding token's id + 1 on. The pooler is a part of the classifier.
"""

from dataclasses import replace

from stillhouse.families.contract import Family

FAMILY = Family(
    "roberta",
    "Roberta",
    poolers=("pooler.dense", "classifier.dense"),
    decoder="lm_head.decoder",
    decoder_bias="lm_head.bias",
    first_position=None,
)
XLM = replace(FAMILY, name="xlm-roberta", prefix="XLMRoberta")  # Conneau et al. 2020, arXiv 1911.02116
CAMEMBERT = replace(FAMILY, name="camembert", prefix="Camembert")  # Martin et al. 2020, arXiv 1911.03894
