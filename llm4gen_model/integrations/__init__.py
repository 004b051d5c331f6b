"""CAM in programs other than diffusers' pipelines: ComfyUI, and diffusers' modular SDXL."""
