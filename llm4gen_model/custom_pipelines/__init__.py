"""One file a pipeline class, as `DiffusionPipeline.from_pretrained(..., custom_pipeline=FILE)` wants it."""
