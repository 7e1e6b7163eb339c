"""How labels of words mark entities, and the entities that a sentence's labels stand for.

A label is O, or a type with or without a prefix. B begins an entity, I is inside one, E (or L) ends one, S (or U) is
one of a single word: BIO, BIOES (BILOU) and IO (I alone, or types alone beside O) are told apart by the labels there
are. Labels of another form, such as parts of speech, mark no entities.

A new entity begins at B and S, after E, S and O, and where the type changes: so I after O, or after another type,
begins one. These are the rules of the CoNLL-2000 evaluation script, which `seqeval` has by default.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stillhouse.errors import InputError

OUTSIDE = "O"
PREFIXED = re.compile(r"([BIESLU])-(.+)")
FIRST, LAST = "BSU", "ESLU"  # prefixes of an entity's first word, and of its last


@dataclass(frozen=True)
class Entity:
    """Words of a sentence, from `first` to before `end`, of a type."""

    type: str
    first: int
    end: int


@dataclass(frozen=True)
class Scheme:
    """How the labels of a task mark entities.

    Args:
        prefixes: that some label has.
        types: in order of the labels; of labels that mark no entities, the labels.
        entities: whether labels mark entities.
    """

    prefixes: frozenset[str]
    types: tuple[str, ...]
    entities: bool

    @property
    def begins(self) -> bool:
        """Whether the first word of an entity has a prefix of its own."""
        return "B" in self.prefixes

    def all_labels(self) -> list[str]:
        """Each type with each prefix, if labels mark entities by prefixes: one that no word has yet, another may."""
        return [f"{prefix}-{kind}" for prefix in sorted(self.prefixes) for kind in self.types] if self.entities else []

    def parts(self, label: str) -> tuple[str, str]:
        """Prefix and type of a label: of O both are "", of a type alone the prefix is I."""
        if label == OUTSIDE:
            return "", ""
        found = PREFIXED.fullmatch(label) if self.prefixes else None
        return (found[1], found[2]) if found else ("I", label)

    def found(self, labels: Sequence[str]) -> list[Entity]:
        """The entities of a sentence; of labels that mark none, its words, each by itself."""
        if not self.entities:
            return [Entity(label, place, place + 1) for place, label in enumerate(labels)]
        entities: list[Entity] = []
        before = ("", "")
        for place, label in enumerate(labels):
            prefix, kind = self.parts(label)
            if kind and (prefix in FIRST or not before[1] or before[0] in LAST or before[1] != kind):
                entities.append(Entity(kind, place, place + 1))
            elif kind:
                last = entities[-1]
                entities[-1] = Entity(last.type, last.first, place + 1)
            before = prefix, kind
        return entities

    def mended(self, labels: Sequence[str], known: Collection[str]) -> list[str]:
        """Labels of a sentence in which every entity begins as the scheme has it.

        Where the first word of an entity has a prefix of its own, an I that begins one becomes B. An E that begins one
        becomes S (L becomes U) where there is such a label, else B.

        Args:
            known: a label that is none of these is not made.
        """
        if not self.begins:
            return list(labels)
        out, before = [], ("", "")
        for label in labels:
            prefix, kind = self.parts(label)
            if prefix and prefix in "IEL" and (not before[1] or before[0] in LAST or before[1] != kind):
                alone = {"E": "S", "L": "U"}.get(prefix)
                better = f"{alone if f'{alone}-{kind}' in known else 'B'}-{kind}"
                label = better if better in known else label
            out.append(label)
            before = self.parts(label)
        return out


def scheme_of(labels: Sequence[str]) -> Scheme:
    """How these labels mark entities.

    Raises:
        InputError: some have a prefix that a scheme has, and some neither that nor are they O.
    """
    found = {label: PREFIXED.fullmatch(label) for label in labels if label != OUTSIDE}
    prefixed = {label: match for label, match in found.items() if match}
    if prefixed and (OUTSIDE in labels or len(prefixed) == len(found)):
        if strange := next((label for label, match in found.items() if not match), None):
            raise InputError(
                f"label '{strange}' is of no scheme: beside O and '{next(iter(prefixed))}' labels are B-, I-, E-, S-, "
                "L- or U- and a type: correct it"
            )
        types = tuple(dict.fromkeys(match[2] for match in prefixed.values()))
        return Scheme(frozenset(match[1] for match in prefixed.values()), types, True)
    types = tuple(label for label in labels if label != OUTSIDE)
    if OUTSIDE in labels:
        return Scheme(frozenset(), types, True)
    return Scheme(frozenset(), tuple(labels), False)
