"""The Inception networks of FID by named modes: weights, and how a picture becomes 299 x 299 px, change the value.

`inception-clean` is clean-fid's preprocessing with NVIDIA's TorchScript; it needs neither package, only the file.
`inception-torch-fidelity` and `inception-torchmetrics` are those packages' own networks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as PilImage
from PIL import __version__ as pillow_version
from PIL.Image import Image, Resampling

from benchmarks.downloads import cache_folder
from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file

if TYPE_CHECKING:
    import numpy as np

SIDE_PX = 299
N_CLASSES = 1008
TORCHSCRIPT = "inception-2015-12-05.pt"
TORCHSCRIPT_URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{TORCHSCRIPT}"
TORCHSCRIPT_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
STATE = "weights-inception-2015-12-05-6726825d.pth"
STATE_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{STATE}"
STATE_SHA256 = "6726825d"  # its first digits, as in the name


class CleanInception:
    """2,048 features; each channel is resized by Pillow's bicubic filter with antialiasing in float (clean-fid).

    `model` is the file of the weights, by default in the cache. Raises UserError if it is not there, or is another
    file: a TorchScript is a program, and no other one is run.
    """

    n_logits = 0

    def __init__(
        self,
        model: str = "",
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        processor: str | None = None,
    ) -> None:
        self.device, self.dtype = device, _float32(dtype)
        self.weights = _weights(model, TORCHSCRIPT, TORCHSCRIPT_URL, TORCHSCRIPT_SHA256)

    def identity(self) -> dict[str, Any]:
        """Weights by sha256, and how pictures are resized."""
        return {
            "encoder": "inception-clean",
            "version": 1,
            "weights": self._checked_sha256,
            "preprocessing": "Pillow bicubic, antialiased, each channel in float, 0 to 255; 299 px; (x - 128) / 128",
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def encode(self, images: Sequence[Image]) -> np.ndarray:
        """Features [B, 2048] in float32."""
        import numpy as np
        import torch

        pixels = torch.from_numpy(np.stack([resized_clean(image) for image in images])).to(self.device)
        with torch.inference_mode():
            features = self._network((pixels - 128) / 128).reshape(len(images), -1)
        found: np.ndarray = features.float().cpu().numpy()
        return found

    @cached_property
    def _checked_sha256(self) -> str:
        return _checked(self.weights, TORCHSCRIPT_URL, TORCHSCRIPT_SHA256)

    @cached_property
    def _network(self) -> Callable[[Any], Any]:
        import torch

        _ = self._checked_sha256
        # The whole resizes once more by itself; its layers do not.
        layers: Callable[[Any], Any] = torch.jit.load(  # type: ignore[no-untyped-call]
            str(self.weights), map_location=self.device
        ).layers.eval()
        return layers


class TorchFidelityInception:
    """2,048 features and 1,008 logits without bias, by the network and TensorFlow's old resize of torch-fidelity.

    As `CleanInception`; raises UserError as well if the package cannot be imported.
    """

    n_logits = N_CLASSES
    resize = "TensorFlow 1 bilinear without antialiasing, 299 px"
    package = "torch_fidelity"

    def __init__(
        self,
        model: str = "",
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        processor: str | None = None,
    ) -> None:
        self.device, self.dtype = device, _float32(dtype)
        self.weights = _weights(model, STATE, STATE_URL, STATE_SHA256)

    def identity(self) -> dict[str, Any]:
        """Weights by sha256, the package's version, and how pictures are resized."""
        from importlib.metadata import version

        return {
            "encoder": f"inception-{self.package.replace('_', '-')}",
            "version": 1,
            "weights": _checked(self.weights, STATE_URL, STATE_SHA256),
            "preprocessing": self.resize,
            self.package: version(self.package),
            "dtype": self.dtype,
        }

    def encode(self, images: Sequence[Image]) -> np.ndarray:
        """Features and logits [B, 3056], or features [B, 2048], in float32."""
        import numpy as np
        import torch

        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            by_size[image.size].append(i)
        found: dict[int, np.ndarray] = {}
        for members in by_size.values():
            pixels = np.stack([np.asarray(images[i]) for i in members]).transpose(0, 3, 1, 2)
            with torch.inference_mode():
                parts = self._network(torch.from_numpy(pixels).to(self.device))
            whole = torch.cat(parts, dim=1) if isinstance(parts, tuple) else parts
            found.update(zip(members, whole.float().cpu().numpy(), strict=True))
        return np.stack([found[i] for i in range(len(images))])

    def _make(self) -> Any:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(self.weights))

    @cached_property
    def _network(self) -> Any:
        try:
            return self._make().to(self.device).eval()
        except Exception as error:  # torch-fidelity without a working torchvision raises whatever that raises
            raise UserError(
                f"fid: {self.package} cannot be used ({' '.join(str(error).split())[:200]}): pip install "
                "torch-fidelity torchmetrics, with a torchvision built for this torch; or --set fid.mode=clean"
            ) from error


class TorchmetricsInception(TorchFidelityInception):
    """2,048 features by the same network, resized by torch's bilinear filter with antialiasing, as torchmetrics has it
    since its version 1.8."""

    n_logits = 0
    resize = "torch bilinear with antialiasing, 299 px"
    package = "torchmetrics"

    def _make(self) -> Any:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3("inception-v3-compat", ["2048"], str(self.weights), antialias=True)


def resized_clean(image: Image) -> np.ndarray:
    """An RGB picture as float32 [3, 299, 299] of 0 to 255."""
    import numpy as np

    channels = [
        np.asarray(PilImage.fromarray(np.asarray(channel, np.float32)).resize((SIDE_PX, SIDE_PX), Resampling.BICUBIC))
        for channel in image.split()
    ]
    return np.stack(channels).clip(0, 255)


def _float32(dtype: str) -> str:
    if dtype != "float32":
        raise UserError(f"fid: dtype {dtype!r}, expected float32: features in half precision change the value")
    return dtype


def _weights(given: str, name: str, url: str, sha256: str) -> Path:
    path = Path(given) if given else cache_folder("fid") / name
    if not path.is_file():
        raise UserError(
            f"fid: {path}: no such file; expected {name} from {url} (sha256 {sha256}), there or as "
            "--set fid.model=FILE"
        )
    return path


def _checked(path: Path, url: str, sha256: str) -> str:
    found = sha256_file(path)
    if not found.startswith(sha256):
        raise UserError(f"fid: {path}: sha256 is {found}, expected {sha256} of {url}")
    return found
