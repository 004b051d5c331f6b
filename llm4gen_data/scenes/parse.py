"""Read a caption: which objects it claims, with which attributes and relations.

A deterministic reader of the grammar that `dense.py` writes. It goes through each sentence once, from left to right,
knows the subject of the clause and what "it", "the former" or "the last" mean, and skips what it does not know.
"""

from dataclasses import dataclass, field

from llm4gen_data.scenes.lexicon import Token, sentences

_ATTRIBUTES = ("color", "texture", "size")
_ORDINALS = {"former": 0, "first": 0, "latter": 1, "second": 1, "third": 2, "fourth": 3, "last": -1}


@dataclass
class ClaimedUnit:
    """One object, or `n` alike, as far as a caption describes it."""

    shape: str | None
    n: int = 1
    attributes: dict[str, str] = field(default_factory=dict)

    def describe(self, kind: str, value: str) -> None:
        """Note an attribute; of two that contradict each other the first is kept."""
        self.attributes.setdefault(kind, value)


@dataclass
class Reader:
    """What a caption has said up to some word."""

    units: list[ClaimedUnit] = field(default_factory=list)
    relations: set[tuple[int, str, int]] = field(default_factory=set)  # positions in `units`
    topic: list[int] = field(default_factory=list)  # whom "it" means in the next sentence
    listed: list[int] = field(default_factory=list)  # whom "the former" and "the first" count from

    def relate(self, subject: list[int], relation: str, to: list[int]) -> None:
        """Note that all of `subject` are `relation` all of `to`."""
        self.relations |= {(a, relation, b) for a in subject for b in to if a != b}


@dataclass
class Clause:
    """Where the reading of a sentence stands."""

    subject: list[int] = field(default_factory=list)  # whom "is red" describes
    last: list[int] = field(default_factory=list)  # whom "with dark stripes" describes
    mentioned: list[list[int]] = field(default_factory=list)  # so far in the sentence
    new: list[int] = field(default_factory=list)  # units that this sentence brings in
    waiting: list[tuple[str, str]] = field(default_factory=list)  # attributes of whom is mentioned next
    relation: tuple[list[int], str] | None = None  # (subject, relation) still without an object
    fronted: tuple[str, list[int]] | None = None  # (relation, object) still without a subject
    neighbor_of: list[int] | None = None
    new_topic: list[int] = field(default_factory=list)


def read_caption(text: str) -> Reader:
    """The objects, attributes and relations that a caption claims; any text is accepted."""
    reader = Reader()
    for tokens in sentences(text):
        read_sentence(reader, tokens)
    return reader


def read_sentence(reader: Reader, tokens: list[Token]) -> None:
    """Add to what the reader knows what the tokens of one sentence claim."""
    clause = Clause()
    describes_forward = any(token.kind == "forward" for token in tokens)
    n_relations = len(reader.relations)
    position = 0
    while position < len(tokens):
        token = tokens[position]
        end, mention = _mention(reader, clause, tokens, position)
        if mention is not None:
            starts_clause = position == 0 or tokens[position - 1].kind in ("joint", "break")
            _take_mention(
                reader,
                clause,
                mention,
                starts_clause=starts_clause or token.kind == "everything" or token.value == "which",
            )
        elif token.kind in _ATTRIBUTES or token.kind == "marks":
            _take_attribute(reader, clause, tokens, position, describes_forward)
        elif token.kind in ("relation", "relation to it"):
            _take_relation(reader, clause, tokens, position)
        elif token.kind == "neighbor":
            clause.neighbor_of = clause.last or reader.topic
        elif token.kind == "break":
            clause.subject, clause.last = [], []
        position = end
    _describe(reader, clause.subject or clause.last or reader.topic, clause.waiting)
    order = next((token.value for token in tokens if token.kind == "order"), None)
    if order is not None:
        for k, unit in enumerate(clause.new):
            reader.relate([unit], order, clause.new[k + 1 :])
    if len(clause.new) > 1 and (order is not None or len(reader.relations) == n_relations):
        reader.listed = clause.new
    reader.topic = clause.new_topic or (clause.mentioned[0] if clause.mentioned else reader.topic)


# ---- mentions ----


def _mention(reader: Reader, clause: Clause, tokens: list[Token], start: int) -> tuple[int, list[int] | None]:
    """The units that the words from `start` on mention (None if none) and where the next word begins."""
    token = tokens[start]
    if token.kind == "everything":
        return start + 1, list(range(len(reader.units)))
    if token.kind == "pronoun":
        return start + 1, _pronoun(reader, clause, token.value) or None
    if token.kind == "the" and start + 1 < len(tokens) and tokens[start + 1].kind == "name":
        index = _ORDINALS[tokens[start + 1].value]
        known = -len(reader.listed) <= index < len(reader.listed)
        return start + 2, [reader.listed[index]] if known else None
    return _noun_phrase(reader, clause, tokens, start)


def _pronoun(reader: Reader, clause: Clause, pronoun: str) -> list[int]:
    if pronoun == "which":
        return clause.last
    before = clause.mentioned[0] if clause.mentioned else reader.topic
    if clause.relation is not None or clause.fronted is not None:
        # "a disc sits below it" looks back a sentence, "the star has a disc below it" does not.
        before = clause.mentioned[0] if len(clause.mentioned) > 1 else reader.topic
    if pronoun == "they" and sum(reader.units[u].n for u in before) < 2:
        return list(range(len(reader.units)))
    return before


def _noun_phrase(reader: Reader, clause: Clause, tokens: list[Token], start: int) -> tuple[int, list[int] | None]:
    """An optional article or number, attributes, and a shape; or "the red one"."""
    end, definite, n = start, False, 1
    if tokens[end].kind in ("a", "the"):
        definite = tokens[end].kind == "the"
        end += 1
    if end < len(tokens) and tokens[end].kind == "number":
        n = int(tokens[end].value)
        end += 1
    has_article = end > start
    attributes: dict[str, str] = {}
    while end < len(tokens):
        kind, value = tokens[end].kind, tokens[end].value
        if kind in _ATTRIBUTES:
            attributes.setdefault(kind, value)
        elif not (kind == "joint" and attributes and (has_article or value == ",")):
            break
        end += 1
    head = tokens[end] if end < len(tokens) else Token("word", "")
    if head.kind in ("shape", "shapes"):
        return end + 1, [_resolve(reader, clause, head.value, n, attributes, definite)]
    if head.kind in ("one", "thing") and definite and attributes:
        fitting = [u for u, unit in enumerate(reader.units) if attributes.items() <= unit.attributes.items()]
        return end + 1, fitting[:1] or None
    if head.kind == "thing" and attributes:
        return end + 1, [_resolve(reader, clause, None, n, attributes, definite)]
    return start + 1, None


def _resolve(
    reader: Reader, clause: Clause, shape: str | None, n: int, attributes: dict[str, str], definite: bool
) -> int:
    """The known unit that a definite phrase means, or else a new one."""
    if definite:
        candidates = [
            u
            for u, unit in enumerate(reader.units)
            if unit.shape == shape and all(unit.attributes.get(k, v) == v for k, v in attributes.items())
        ]
        if candidates:
            best = max(candidates, key=lambda u: len(attributes.items() & reader.units[u].attributes.items()))
            _describe(reader, [best], list(attributes.items()))
            return best
    reader.units.append(ClaimedUnit(shape, n, dict(attributes)))
    clause.new.append(len(reader.units) - 1)
    return len(reader.units) - 1


def _take_mention(reader: Reader, clause: Clause, mention: list[int], *, starts_clause: bool) -> None:
    _describe(reader, mention, clause.waiting)
    clause.waiting = []
    if clause.relation is not None:
        subject, relation = clause.relation
        clause.relation = None
        if subject:
            reader.relate(subject, relation, mention)
        else:
            clause.fronted = (relation, mention)
        clause.last = mention
        clause.mentioned.append(mention)
        return
    if clause.fronted is not None:
        relation, to = clause.fronted
        reader.relate(mention, relation, to)
        clause.fronted, clause.subject, clause.new_topic = None, mention, mention
    elif starts_clause or not clause.subject:
        clause.subject = mention
    clause.last = mention
    clause.mentioned.append(mention)


# ---- attributes and relations ----


def _take_attribute(
    reader: Reader, clause: Clause, tokens: list[Token], position: int, describes_forward: bool
) -> None:
    """Hand an attribute that stands outside a noun phrase to whom it describes."""
    token = tokens[position]
    kind = "texture" if token.kind == "marks" else token.kind
    before = [t.value for t in tokens[max(0, position - 3) : position]]
    if "with" in before and clause.last:
        _describe(reader, clause.last, [(kind, token.value)])
    elif describes_forward or not clause.subject or _marks_cover_next(tokens, position, before):
        clause.waiting.append((kind, token.value))
    else:
        _describe(reader, clause.subject, [(kind, token.value)])


def _marks_cover_next(tokens: list[Token], position: int, before: list[str]) -> bool:
    """ "dark stripes run across the circle", unlike "the circle has dark stripes"."""
    if tokens[position].kind != "marks" or "has" in before or "have" in before:
        return False
    return any(t.kind in ("pronoun", "shape", "shapes", "one", "name") for t in tokens[position + 1 :])


def _take_relation(reader: Reader, clause: Clause, tokens: list[Token], position: int) -> None:
    relation = tokens[position].value
    if clause.neighbor_of is not None:
        clause.fronted, clause.neighbor_of = (relation, clause.neighbor_of), None
        return
    after_and = position > 0 and tokens[position - 1].value == "and"
    subject = [] if after_and else clause.last
    clause.relation = (subject, relation)
    if tokens[position].kind == "relation to it":
        it = _pronoun(reader, clause, "it")
        if it:
            _take_mention(reader, clause, it, starts_clause=False)
        else:
            clause.relation = None
    elif not any(
        t.kind in ("a", "the", "pronoun", "number", "shape", "shapes", *_ATTRIBUTES)
        for t in tokens[position + 1 : position + 3]
    ):
        clause.relation = None  # "above" as an adverb


def _describe(reader: Reader, mention: list[int], attributes: list[tuple[str, str]]) -> None:
    for unit in mention:
        for kind, value in attributes:
            reader.units[unit].describe(kind, value)
