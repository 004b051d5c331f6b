"""Where the work is done: this process, or the workers of a Ray cluster."""
