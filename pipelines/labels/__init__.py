"""Objects of generated pictures labelled by eye, and how far the scene reader agrees with the labels."""
