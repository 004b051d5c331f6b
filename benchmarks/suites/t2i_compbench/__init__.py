"""T2I-CompBench: eight categories, each with its own rules, by the published protocol and with its faults mended."""
