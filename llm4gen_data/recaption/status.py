"""What can become of a row: the values of the column `status`."""

from __future__ import annotations

SUCCESS = "success"
FAILED_DOWNLOAD = "failed_download"  # no bytes came
FAILED_IMAGE = "failed_image"  # the bytes are no picture
FAILED_CAPTION = "failed_caption"  # this request was refused for good
FAILED_TRANSIENT = "failed_transient"  # the server was busy or away for longer than the retries lasted
QUARANTINED = "quarantined"  # the engine died twice on it

# What `--retry-failed CLASS` does again.
FAILURE_CLASSES = {
    "transient": (FAILED_TRANSIENT,),
    "permanent": (FAILED_IMAGE, FAILED_CAPTION),
    "poison": (QUARANTINED,),
}
