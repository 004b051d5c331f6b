import dataclasses
import functools
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from llm4gen_data.config import load_config
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import GENERATED_IMAGE_SCHEMA, PROMPT_SCHEMA
from llm4gen_data.runs import is_complete, read_json, sha256_file
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.generate import run
from llm4gen_model.generate.config import GenerateConfig
from llm4gen_model.generate.metadata import read_about
from llm4gen_model.generate.plan import list_columns
from llm4gen_model.generate.run import generate
from llm4gen_model.generate.sampling import sample_images
from llm4gen_model.peers.ella import TimestepAwareSemanticConnector
from tests import factories

MODELS = {"plain": 0, "fused": 1, "org/fused": 2, "org.fused": 3, "org fused": 4}


@functools.cache
def cam_model(name: str) -> Any:
    return factories.cam_model(name, seed=MODELS[name])


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_model(name: str, *, device: str, dtype: str, offload: bool, **options: Any) -> Any:
        assert (device, dtype, offload) == ("cpu", "float32", False)
        assert set(options.values()) == {None}
        return cam_model(name)

    monkeypatch.setattr("llm4gen_model.models.load_model", load_model)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("a red cube\na blue ball left of a green cone\na yellow star\n")
    return file


def configured(prompts: Path, **values: Any) -> GenerateConfig:
    given = {"models": ["plain", "fused"], "prompts": str(prompts), "num_inference_steps": 2, **values}
    return load_config(GenerateConfig, flags=given)


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.p*")) if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), dtype=int)


def test_a_run_holds_every_image_its_manifest_and_a_grid(tmp_path: Path, prompts: Path) -> None:
    out = tmp_path / "out"
    generate(configured(prompts, samples_per_prompt=2, seed=7), out)
    table = pq.read_table(out / "images.parquet")
    assert table.schema.equals(GENERATED_IMAGE_SCHEMA)
    rows = table.to_pylist()
    assert len(rows) == len({row["path"] for row in rows}) == 2 * 3 * 2
    for row in rows:
        assert sha256_file(out / row["path"]) == row["sha256"]
        assert Image.open(out / row["path"]).size == (16, 16)
        assert row["seed"] == 7 + row["sample_index"]
    assert {(row["model"], row["prompt"]) for row in rows} >= {("plain", "a red cube"), ("fused", "a yellow star")}
    assert rows[0]["path"] == "images/plain/00000-00.png"
    assert len({row["sha256"] for row in rows}) == 12
    assert pq.read_table(out / "prompts.parquet").schema.equals(PROMPT_SCHEMA)
    assert Image.open(out / "grid.png").width > 2 * 256
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["n_images"] == 12
    assert manifest["fingerprint"]["models"] == {"plain": {"seed": 0}, "fused": {"seed": 1}}
    # what earlier versions wrote, so that their runs go on
    assert manifest["fingerprint"]["sampling"] == {
        "samples_per_prompt": 2,
        "seed": 7,
        "num_inference_steps": 2,
        "guidance_scale": 7.5,
        "negative_prompt": "",
        "cam_scale": 1.0,
        "dtype": "float32",
    }
    provenance = json.loads(pq.read_schema(out / "images.parquet").metadata[b"llm4gen"])
    assert provenance["fingerprint"] == manifest["fingerprint"]
    assert "torch" in provenance["versions"]
    assert "torch" in manifest["versions"]


def test_noise_per_prompt_gives_every_image_a_noise_of_its_own(tmp_path: Path, prompts: Path) -> None:
    prompts.write_text("a red cube\na red cube \n")
    generate(configured(prompts, samples_per_prompt=2, seed=7, noise_per_prompt=True), tmp_path / "own")
    generate(configured(prompts, samples_per_prompt=2, seed=9), tmp_path / "shared")
    own, shared = (pq.read_table(tmp_path / name / "images.parquet").to_pylist() for name in ("own", "shared"))
    assert [row["seed"] for row in own] == [7, 8, 9, 10] * 2
    assert [row["seed"] for row in shared] == [9, 10] * 4
    by_seed = {(row["model"], row["seed"]): pixels(tmp_path / "own" / row["path"]) for row in own}
    for row in shared:
        distance = np.abs(by_seed[row["model"], row["seed"]] - pixels(tmp_path / "shared" / row["path"])).max()
        assert distance <= 1
    assert np.abs(by_seed["fused", 7] - by_seed["fused", 9]).max() > 1


def test_images_do_not_depend_on_batch_size_or_on_the_other_models(tmp_path: Path, prompts: Path) -> None:
    generate(configured(prompts, samples_per_prompt=2, batch_size=1), tmp_path / "one")
    generate(configured(prompts, samples_per_prompt=2, batch_size=5, models=["fused"]), tmp_path / "five")
    for path in sorted((tmp_path / "five/images/fused").iterdir()):
        other = tmp_path / "one/images/fused" / path.name
        # not bit for bit: matrix products of another shape round differently
        assert np.abs(pixels(path) - pixels(other)).max() <= 1


def test_a_deleted_or_damaged_image_is_drawn_again_the_same(tmp_path: Path, prompts: Path) -> None:
    out = tmp_path / "out"
    config = configured(prompts, batch_size=2)
    generate(config, out)
    before = files(out)
    (out / "images/fused/00001-00.png").unlink()
    damaged = out / "images/plain/00002-00.png"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    (out / "images/plain/.tmp-123-00000-00.png").write_bytes(b"left by a killed start")
    kept = (out / "images/plain/00000-00.png").stat().st_mtime_ns
    generate(config, out)
    assert files(out) == before
    assert (out / "images/plain/00000-00.png").stat().st_mtime_ns == kept


def test_a_run_that_was_killed_goes_on(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(prompts, batch_size=2)
    generate(config, tmp_path / "undisturbed")
    draw, n_batches = sample_images, 0

    def killed_in_the_third_batch(*args: Any, **options: Any) -> Any:
        nonlocal n_batches
        n_batches += 1
        if n_batches == 3:
            raise KeyboardInterrupt
        return draw(*args, **options)

    out = tmp_path / "out"
    monkeypatch.setattr(run, "sample_images", killed_in_the_third_batch)
    with pytest.raises(KeyboardInterrupt):
        generate(config, out)
    assert not is_complete(out)
    assert len(list(out.glob("images/*/*.png"))) == 3
    generate(config, out)
    assert n_batches == 5
    assert files(out) == files(tmp_path / "undisturbed")
    generate(config, out)
    assert n_batches == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [("word " * 2000, "prompt of 2,000 words"), ("", "holds no prompts"), ("a\n\nb\n", "line 2: empty prompt")],
)
def test_prompts_that_cannot_be_used_are_told_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text)
    with pytest.raises(UserError, match=line) as error:
        generate(configured(file), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_another_configuration_is_refused(tmp_path: Path, prompts: Path) -> None:
    generate(configured(prompts), tmp_path / "out")
    with pytest.raises(UserError, match=r"sampling\.guidance_scale: 7\.5 -> 5\.0"):
        generate(configured(prompts, guidance_scale=5.0), tmp_path / "out")
    prompts.write_text("another prompt\n")
    with pytest.raises(UserError, match="prompts: "):
        generate(configured(prompts), tmp_path / "out")


def test_model_names_become_folders_and_must_differ(tmp_path: Path, prompts: Path) -> None:
    out = tmp_path / "out"
    generate(configured(prompts, models=["org/fused", "org.fused"]), out)
    assert sorted(path.name for path in (out / "images").iterdir()) == ["org-fused", "org.fused"]
    with pytest.raises(UsageError, match="model 'org/fused': two models would write to images/org-fused"):
        generate(configured(prompts, models=["org/fused", "org fused"]), tmp_path / "other")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"models": []}, "models: expected at least one"),
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale: expected a finite number"),
        ({"height": 20}, "height: expected a multiple of 8"),
        ({"dtype": "float8"}, "dtype"),
    ],
)
def test_settings_that_draw_nothing_are_refused(tmp_path: Path, values: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        configured(tmp_path / "prompts.txt", **values)


def test_every_png_says_how_it_was_drawn(tmp_path: Path, prompts: Path) -> None:
    out = tmp_path / "out"
    generate(configured(prompts, models=["fused"], samples_per_prompt=2, seed=7, negative_prompt="blurry"), out)
    with Image.open(out / "images/fused/00001-01.png") as image:
        about = read_about(image)
        assert image.info["parameters"].splitlines() == [
            "a blue ball left of a green cone",
            "Negative prompt: blurry",
            "Steps: 2, Sampler: DDIMScheduler, CFG scale: 7.5, Seed: 8, Size: 16x16, Model: fused, "
            f"Version: llm4gen {about['versions']['llm4gen']}",
        ]
    assert (about["prompt"], about["seed"], about["model"]) == ("a blue ball left of a green cone", 8, "fused")
    assert about["guidance_scale"] == 7.5
    assert {"torch", "diffusers"} < set(about["versions"])
    with (
        pytest.raises(UserError, match=r"grid\.png: carries no llm4gen metadata"),
        Image.open(out / "grid.png") as grid,
    ):
        read_about(grid)


def test_two_models_are_never_in_memory_together(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []

    def load_model(name: str, **_: Any) -> Any:
        assert all(reference() is None for reference in alive)
        model = factories.cam_model(name, seed=MODELS[name])
        alive.append(weakref.ref(model.pipeline.unet))
        return model

    monkeypatch.setattr("llm4gen_model.models.load_model", load_model)
    generate(configured(prompts, models=["plain", "fused", "org/fused"]), tmp_path / "out")
    assert len(alive) == 5  # each once to know what it is; the last is drawn with at once


def test_a_compiled_unet_sees_one_shape_and_draws_the_same(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()

    def compiled(unet: UNet2DConditionModel, *, dynamic: bool) -> None:
        assert not dynamic
        unet.register_forward_pre_hook(lambda _, args: shapes.add(tuple(args[0].shape)))

    monkeypatch.setattr(UNet2DConditionModel, "compile", compiled)
    monkeypatch.setattr("llm4gen_model.models.load_model", lambda name, **_: factories.cam_model(name, MODELS[name]))
    generate(configured(prompts, models=["fused"], batch_size=2, compile=True), tmp_path / "compiled")
    assert shapes == {(4, 4, 8, 8)}  # two images, with and without the prompt
    generate(configured(prompts, models=["fused"], batch_size=2), tmp_path / "out")
    for path in sorted((tmp_path / "out/images/fused").iterdir()):
        assert np.abs(pixels(path) - pixels(tmp_path / "compiled/images/fused" / path.name)).max() <= 1


def test_the_base_of_a_model_stands_beside_it(tmp_path: Path, prompts: Path) -> None:
    config = configured(prompts, models=["cam-mini"], compare="base")
    loaded: list[str] = []

    class Loader:
        def load(self, name: str) -> Any:
            loaded.append(name)
            return dataclasses.replace(cam_model("plain"), name=name)

    assert [column.name for column in list_columns(config, Loader())] == ["mini", "cam-mini"]  # type: ignore[arg-type]
    both = configured(prompts, models=["mini", "cam-mini"], compare="base")
    assert [column.name for column in list_columns(both, Loader())] == ["mini", "cam-mini"]  # type: ignore[arg-type]
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "model_index.json").write_text('{"_class_name": "LLM4GenPipeline"}')
    with pytest.raises(UsageError, match="does not say what its base is"):
        list_columns(configured(prompts, models=[str(saved)], compare="base"), Loader())  # type: ignore[arg-type]


def test_another_scheduler_draws_another_image_and_an_unknown_one_is_refused(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm4gen_model.models.load_model", lambda name, **_: factories.cam_model(name, MODELS[name]))
    generate(configured(prompts, models=["fused"]), tmp_path / "out")
    generate(configured(prompts, models=["fused"], scheduler="EulerDiscreteScheduler"), tmp_path / "euler")
    name = "images/fused/00000-00.png"
    assert (pixels(tmp_path / "out" / name) != pixels(tmp_path / "euler" / name)).any()
    with Image.open(tmp_path / "euler" / name) as image:
        assert read_about(image)["scheduler"] == "EulerDiscreteScheduler"
    with pytest.raises(UsageError, match="such as EulerDiscreteScheduler"):
        generate(configured(prompts, models=["fused"], scheduler="EulerDiscretScheduler"), tmp_path / "other")
    with pytest.raises(UsageError, match="scheduler 'UNet2DModel' is unknown"):
        generate(configured(prompts, models=["fused"], scheduler="UNet2DModel"), tmp_path / "other")


def test_without_the_language_models_tokens_the_base_draws(tmp_path: Path, prompts: Path) -> None:
    generate(configured(prompts, models=["fused"], drop_llm_tokens=True), tmp_path / "dropped")
    generate(configured(prompts, models=["fused"]), tmp_path / "kept")
    name = "images/fused/00001-00.png"
    embeds = PromptEncoder.from_pipeline(cam_model("fused").pipeline).encode(["a blue ball left of a green cone"])
    (plain,) = sample_images(cam_model("fused").pipeline, embeds, [0], num_inference_steps=2, guidance_scale=7.5)
    assert np.abs(pixels(tmp_path / "dropped" / name) - np.asarray(plain, dtype=int)).max() <= 1
    assert (pixels(tmp_path / "dropped" / name) != pixels(tmp_path / "kept" / name)).any()


def test_guidance_is_rescaled(tmp_path: Path, prompts: Path) -> None:
    for name, rescale in (("plain", 0.0), ("rescaled", 0.7)):
        generate(configured(prompts, models=["fused"], guidance_rescale=rescale), tmp_path / name)
    image = "images/fused/00001-00.png"
    plain, rescaled = (pixels(tmp_path / name / image) for name in ("plain", "rescaled"))
    assert (plain != rescaled).any()
    assert "guidance_rescale" not in read_json(tmp_path / "plain" / "manifest.json")["fingerprint"]["sampling"]
    assert read_json(tmp_path / "rescaled" / "manifest.json")["fingerprint"]["sampling"]["guidance_rescale"] == 0.7


def test_long_prompts_read_in_chunks_do_not_depend_on_their_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm4gen_model.models.load_model", lambda name, **_: factories.cam_model(name, MODELS[name]))
    file = tmp_path / "prompts.txt"
    file.write_text("a red cube\na blue ball left of a green cone on a table\na yellow star\n")
    options = {"models": ["fused"], "long_prompts": "chunk"}
    generate(configured(file, **options, batch_size=3), tmp_path / "three")
    generate(configured(file, **options, batch_size=1), tmp_path / "one")
    for path in sorted((tmp_path / "one/images/fused").iterdir()):
        assert np.abs(pixels(path) - pixels(tmp_path / "three/images/fused" / path.name)).max() <= 1


def test_a_connector_that_uses_the_timestep_draws(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    ella = TimestepAwareSemanticConnector(text_dim=32, llm_dim=20, num_layers=1, num_heads=2, num_latents=4)
    model = cam_model("plain")
    encoder = PromptEncoder.from_pipeline(model.pipeline, llm=factories.language_model(), cam=ella.eval())
    timed = dataclasses.replace(model, prompt_encoder=encoder)
    monkeypatch.setattr("llm4gen_model.models.load_model", lambda name, **_: timed)
    generate(configured(prompts, models=["plain"]), tmp_path / "out")
    generate(configured(prompts, models=["plain"], drop_llm_tokens=True), tmp_path / "dropped")
    name = "images/plain/00000-00.png"
    assert (pixels(tmp_path / "out" / name) != pixels(tmp_path / "dropped" / name)).any()
