"""Where a model looks: cross-attention of words, captured and drawn."""
