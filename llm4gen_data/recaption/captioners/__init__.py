"""The engines that write captions, one file each; see `recaption/captioner.py` for the table."""
