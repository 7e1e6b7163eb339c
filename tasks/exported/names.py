"""What lies in an exported folder besides the graph and the tokenizer, and what hubs call the metrics of its card."""

INFERENCE = "inference.json"
CARD = "README.md"
METRICS = {"matthews": "matthews_correlation", "pearson": "pearsonr", "spearman": "spearmanr", "exact": "exact_match"}


def metric_type(name: str) -> str:
    """What hubs call a metric."""
    return METRICS.get(name, name)


FORMATS_FILE = "formats.json"  # beside metrics.json: a student in other formats
