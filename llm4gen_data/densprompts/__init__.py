"""DensePrompts: 7,000 dense prompts, each written from a specification that says everything it claims."""
