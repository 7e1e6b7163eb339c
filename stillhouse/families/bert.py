"""BERT (Devlin et al. 2019, arXiv 1810.04805), which every other family here is described against."""

from stillhouse.families.contract import Family

FAMILY = Family("bert", "Bert")
