"""The store in mlruns/ keeps whole paths: those of a project's folder that was moved or copied follow it.

MLflow writes where its files lie into its database when a run or a version is made, and has no call to change that. In
another folder it would go on in the former one, which it makes again, and not find what lies here.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Columns that hold a path of a file or folder, or a URI of one.
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def former_place(store: Path, experiment: str) -> str:
    """The URI that the store's folder had when the experiment was made; empty where it is the present one.

    Args:
        store: the folder of mlflow.db and of the artifacts.
    """
    with closing(sqlite3.connect(f"{(store / 'mlflow.db').resolve().as_uri()}?mode=ro", uri=True)) as database:
        if not _columns(database, "experiments"):
            return ""
        found = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    place, _, name = (found[0] if found else "").rpartition("/")
    # Elsewhere the user has put it, who is right.
    if name != "artifacts" or not place.startswith("file:") or place.rpartition("/")[2] != store.name:
        return ""
    # A copy of the database alone still belongs to the files there.
    copied = not (store / name).is_dir() and Path(unquote(urlsplit(place).path)).is_dir()
    return "" if copied or place == store.resolve().as_uri() else place


def follow(store: Path, former: str) -> None:
    """Change every path below a former place to the present one, all or none."""
    with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        for table, column in PATHS:
            if column in _columns(database, table):
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (store.resolve().as_uri(), len(former) + 1, len(former) + 1, f"{former}/"),
                )


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
