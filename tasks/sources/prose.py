"""From a docstring to natural sentences: markup, tables, code and headings go, what a person would read stays."""

import inspect
import re
from collections.abc import Iterator

MASK = "library"

# Other names that give a library away. Its import name is always masked, these as well.
ALIASES = {
    "numpy": ("np", "numpydoc"),
    "sklearn": ("scikit-learn", "scikit learn", "scikits.learn", "scikit"),
    "pandas": ("pd", "pydata"),
    "matplotlib": ("mpl", "plt", "pyplot", "pylab", "matplotlibrc"),
    "torch": ("pytorch", "aten", "executorch", "functorch", "torchaudio", "torchbind", "torchscript", "torchvision"),
    "transformers": ("transformer", "huggingface", "hugging face", "hf"),
    "sympy": ("isympy", "sympify", "sympified", "sympifies", "sympifying", "sympifyable"),
    "networkx": ("nx",),
    "tensorflow": ("tf",),
}

_SKIPPED_SECTIONS = re.compile(r"(references?|see also|examples?|usage|doctest|bibliography)\s*:?$", re.IGNORECASE)
_UNDERLINE = re.compile(r"^[=\-~^`#*+\"']{3,}$")
_DIRECTIVE = re.compile(r"^\.\. ")
_PROSE_DIRECTIVE = re.compile(r"^\.\. (note|warning|important|tip|caution|attention|hint)::\s*", re.IGNORECASE)
_TABLE = re.compile(r"^(\+[-=+]+\+|\|.*\||[=\-]{2,}(\s+[=\-]{2,})+)$")
_BULLET = re.compile(r"^([-*•+]|\(?\d{1,2}[.)]|#\.)\s+")
_FIELD = re.compile(r"^:(param|type|return|rtype|raises|arg|keyword|var|ivar)[^:]*:\s*")
# `axis : int, optional`, `x (`torch.Tensor`, *optional*):`, `axis: int`, `input (Tensor): the input`
_PARAMETER = re.compile(r"^[*`\w.,\s]{1,60}?(\s:\s|\s?\([^)]*\)\s?:|:$|:\s(?=[a-z{`]))")
_OPENING = re.compile(r"[A-Z\"'(]")
_CODE = re.compile(r"[{}<>|\\$=@^~#]|::|\]_|\w\(|\.\.\.|https?:|www\.|\w/\w+/|\w_\w*_\w|\[[^\]]*[:,]|[^\x00-\x7f]")
_DANGLING = re.compile(r"\b(in|by|of|from|see|and|or|the|a|e\.g|i\.e)[.:]$")  # a citation or formula stood there
_WORD = re.compile(r"^[(\"'`]*[A-Za-z][A-Za-z'’-]*[)\"'`,.;:!?]*$")
_BREAK = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[A-Z\"'(])")
_ABBREVIATION = re.compile(r"\b((?i:e\.g|i\.e|vs|cf|figs?|eqs?|sec|refs?|resp|al|approx|vol|dr|mr|mrs|st)|[A-Z])\.$")


def sentences(docstring: str, names: re.Pattern[str]) -> Iterator[str]:
    """The natural sentences of a docstring, library names masked.

    Args:
        docstring: as it stands in the source, reStructuredText, numpydoc, Google style or Markdown.
        names: what to mask, from `name_pattern`.
    """
    for paragraph in paragraphs(docstring):
        for sentence in split_sentences(plain(paragraph)):
            if is_natural(sentence):
                yield names.sub(MASK, sentence)


def name_pattern(libraries: list[str]) -> re.Pattern[str]:
    """Matches the names and aliases of the libraries: as words, in dotted or underscored names, in CamelCase."""
    names = {name.lower() for library in libraries for name in (library, *ALIASES.get(library, ()))}
    longest_first = [re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name))]
    words = rf"(?<![A-Za-z0-9])(?i:{'|'.join(longest_first)})(?![A-Za-z0-9])"
    parts = rf"(?:{'|'.join(name.capitalize() for name in longest_first)})(?![a-z])"
    return re.compile(f"{words}|{parts}")


def paragraphs(docstring: str) -> Iterator[str]:
    """Blocks of prose, a line each: no headings, code, tables, directives, or parameter names."""
    lines = inspect.cleandoc(docstring).splitlines()
    block: list[str] = []
    block_indent = 0
    skip_deeper_than: int | None = None  # inside a literal block or a directive
    skip_section = fenced = console = False
    for number, line in enumerate(lines):
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if text.startswith("```"):
            fenced = not fenced
        heading = bool(text) and bool(_UNDERLINE.match(following)) and not _UNDERLINE.match(text)
        google = indent == 0 and re.search(r"[^:]:$", text) is not None and len(text.split()) <= 2
        if heading or google or text.startswith("#"):
            skip_section = bool(_SKIPPED_SECTIONS.match(text.strip("# ")))
        if skip_deeper_than is not None and text and indent <= skip_deeper_than:
            skip_deeper_than = None
        console = bool(text) and (console or text.startswith((">>>", "In [")))
        not_prose = (
            not text
            or fenced
            or console
            or heading
            or google
            or skip_section
            or skip_deeper_than is not None
            or text.startswith(("#", "```"))
            or _UNDERLINE.match(text)
            or _TABLE.match(text)
        )
        if not_prose:
            yield from _closed(block)
            continue
        if _DIRECTIVE.match(text):
            yield from _closed(block)
            if not _PROSE_DIRECTIVE.match(text):
                skip_deeper_than = indent
                continue
            text = _PROSE_DIRECTIVE.sub("", text)
        if _BULLET.match(text) or _FIELD.match(text) or indent != block_indent:
            yield from _closed(block)
        block_indent = indent
        text = _FIELD.sub("", _BULLET.sub("", text))
        if not block and (parameter := _PARAMETER.match(text)):
            # What follows a name in Google style is its description; in numpydoc it is a type.
            text = "" if " : " in parameter.group() else text[parameter.end() :].strip()
        if text.endswith("::"):
            skip_deeper_than = indent
            text = text[:-1]
        if text:
            block.append(text)
    yield from _closed(block)


def split_sentences(paragraph: str) -> Iterator[str]:
    """Cut after a full stop that ends a sentence (so not after "e.g." or an initial)."""
    start = 0
    for gap in _BREAK.finditer(paragraph):
        piece = paragraph[start : gap.start()]
        if _ABBREVIATION.search(piece):
            continue
        yield paragraph[start : gap.end()].strip()
        start = gap.end()
    if rest := paragraph[start:].strip():
        yield rest


def is_natural(sentence: str) -> bool:
    """Whether it reads as a sentence: a capital, a full stop, mostly plain words, nothing of code in it."""
    words = sentence.split()
    if not words or not _OPENING.match(sentence) or not sentence.endswith((".", "!", "?", '."', ".)")):
        return False
    if (
        _CODE.search(sentence)
        or _DANGLING.search(sentence)
        or sentence.count("(") != sentence.count(")")
        or sentence.count('"') % 2
    ):
        return False
    return sum(bool(_WORD.match(word)) for word in words) >= 0.75 * len(words)


def plain(text: str) -> str:
    """A text without its markup: links, roles, citations, emphasis and literals leave their words."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)  # Markdown link
    text = re.sub(r":[a-z:]+:`([^`<]+?)\s*(?:<[^>]*>)?`", r"\1", text)  # role
    text = re.sub(r"`([^`<]+?)\s*<[^>]*>`_+", r"\1", text)  # link
    text = re.sub(
        r"\s?\[[\w#*]{1,20}\]_(?=[.,;:)])", "", text
    )  # citation; where one stands for a word, the sentence goes
    text = re.sub(r"`+([^`]*)`+_?", r"\1", text)
    text = re.sub(r"\*{1,3}([^*\s][^*]*)\*{1,3}", r"\1", text)
    return re.sub(r"\s+", " ", text).replace("[]", "").replace("~", "").strip()


def _closed(block: list[str]) -> Iterator[str]:
    if block:
        yield " ".join(block)
        block.clear()
