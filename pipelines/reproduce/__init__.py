"""One experiment from data to tables, by the real commands: `python -m pipelines.reproduce --preset mini`."""
