"""Datasets and prompts: recaption LAION images, build DensePrompts, draw the closed world of scenes."""
