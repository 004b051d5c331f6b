"""The Cross-Adapter Module, its training, and the bundled mini family."""
