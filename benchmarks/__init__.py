"""The shared evaluator: images in, scores with intervals and a report out."""
