"""What a captioner is asked to do. An instruction is never edited once released: a new wording gets a new name."""

from __future__ import annotations

INSTRUCTIONS = {
    # The paper's own (LLM4GEN, LAION-refined).
    "dense": "Detail this image using more than 50 words, specifying the main objects and their relationship.",
    "medium": "Describe this image in two sentences.",
    "short": "Describe this image briefly.",
}

# Put behind a yes/no question, for models trained to answer in one word.
QUESTION_SUFFIX = " Answer yes or no."
