import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks import scoring
from benchmarks.config import BenchConfig
from benchmarks.images import load_image
from benchmarks.records import BenchImage
from benchmarks.run import run
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt
from llm4gen_data.runs import sha256_file
from llm4gen_data.scenes.prompts import scene_prompts
from llm4gen_model.generate.config import GenerateConfig
from tests.factories import picture
from tests.unit.benchmarks.factories import scene_manifest, write_manifest, write_rows
from tests.unit.benchmarks.fake_metric import Brightness

BRIGHTNESS = "tests.unit.benchmarks.fake_metric:Brightness"
SCRIPT = '<script>alert(1)</script> & "quotes" \'</textarea>'


def manifest(folder: Path, n: int = 6) -> Path:
    prompts = [Prompt(f"p{i}", f"picture {i}", ("x", "y")[i % 2], 2, None) for i in range(n)]
    pictures = {"one": [picture(i) for i in range(n)], "two": [picture(7 * i + 3) for i in range(n)]}
    return write_manifest(folder, prompts, pictures)


def config(*folders: Path, **changes: Any) -> BenchConfig:
    values: dict[str, Any] = {"images": folders, "metrics": (BRIGHTNESS,), "batch_size": 4, "n_resamples": 200}
    return BenchConfig(suite="scenes", **(values | changes))


def results_of(out: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results


def outputs_of(out: Path) -> dict[str, str]:
    return {
        path.name: sha256_file(path) for path in out.rglob("*") if path.suffix in (".parquet", ".html", ".csv", ".md")
    }


def test_everything_is_written_and_the_manifest_vouches_for_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(config(manifest(tmp_path / "images")), out)
    made = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    for output in made["outputs"]:
        assert sha256_file(out / output["path"]) == output["sha256"]
    assert (made["n_images"], made["n_failed"]) == (12, 0)
    scores = pq.read_table(out / "scores.parquet")
    assert scores.num_rows == 12
    assert scores.column("error_message").null_count == 12
    results = results_of(out)
    assert results["metrics"][BRIGHTNESS]["metric"] == "brightness"
    assert {row["n_images"] for row in results["scores"] if row["category"] is None} == {6}
    assert len(results["comparisons"]) == 3


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = manifest(tmp_path / "images")
    run(config(images), tmp_path / "whole")
    score, n_seen = Brightness.score, []

    def interrupted(self: Brightness, images: Any, prompts: Any) -> Any:
        n_seen.append(len(images))
        if len(n_seen) == 2:
            raise KeyboardInterrupt
        return score(self, images, prompts)

    monkeypatch.setattr(Brightness, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config(images), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    run(config(images), tmp_path / "out")
    assert n_seen == [4, 4, 4, 4]  # the first batch is not done again
    assert outputs_of(tmp_path / "out") == outputs_of(tmp_path / "whole")
    n_seen.clear()
    run(config(images), tmp_path / "out")
    assert n_seen == []  # a finished run is only told again


def test_a_changed_configuration_or_image_is_refused(tmp_path: Path) -> None:
    images = manifest(tmp_path / "images")
    run(config(images), tmp_path / "out")
    run(config(images, batch_size=2), tmp_path / "out")
    with pytest.raises(UserError, match="n_resamples: 200 -> 300"):
        run(config(images, n_resamples=300), tmp_path / "out")
    rows = pq.read_table(images / "images.parquet").to_pylist()
    write_rows(images, rows[:-1])
    with pytest.raises(UserError, match="n_images: 12 -> 11"):
        run(config(images), tmp_path / "out")


def test_each_image_is_read_once_for_all_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_read: list[str] = []

    def counted(image: BenchImage) -> Image.Image:
        n_read.append(image.path)
        return load_image(image)

    monkeypatch.setattr(scoring, "load_image", counted)
    metrics = (BRIGHTNESS, "tests.unit.benchmarks.fake_metric:NotANumber")
    with pytest.raises(UserError, match="not one of 12 images has a value"):
        run(config(manifest(tmp_path / "images"), metrics=metrics), tmp_path / "out")
    assert len(n_read) == len(set(n_read)) == 12


def test_nothing_is_written_for_a_missing_image(tmp_path: Path) -> None:
    images = manifest(tmp_path / "images")
    (images / "images" / "two" / "00003-0.png").unlink()
    with pytest.raises(UserError, match=r"two/00003-0\.png: no such image"):
        run(config(images), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failures_are_rows_without_a_value_never_zeros(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = manifest(tmp_path / "images")
    (images / "images" / "one" / "00001-0.png").unlink()
    (images / "images" / "two" / "00002-0.png").write_bytes(b"no image")
    run(config(images, allow_missing=True), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    failed = {(row["model"], row["prompt_id"]): row for row in rows if row["error_message"]}
    assert set(failed) == {("one", "p1"), ("two", "p2")}
    assert all(row["value"] is None for row in failed.values())
    assert len(rows) == 12
    results = results_of(tmp_path / "out")
    assert results["n_failed"] == 2
    assert {(row["n_images"], row["n_failed"]) for row in results["scores"] if row["category"] is None} == {(5, 1)}
    assert results["comparisons"][0]["n_pairs"] == 4
    assert results["comparisons"][0]["n_left_out"] == 2
    printed = capsys.readouterr().out
    assert "Not scored: one, prompt p1, seed 0, sample 0: no such image" in printed
    assert "Not scored: two, prompt p2, seed 0, sample 0: changed since it was generated" in printed


def test_options_that_make_no_sense_are_usage_errors(tmp_path: Path) -> None:
    images = manifest(tmp_path / "images", 1)
    for wrong, message in (
        (BenchConfig(suite="scenes"), "expected either --images DIR"),
        (config(images, models=("mini",)), "expected either --images DIR"),
        (config(images, metrics=("clip_scor",)), "did you mean 'clip_score'"),
        (config(images, batch_size=0), "batch_size = 0: expected at least 1"),
        (config(images, generate={"seed": 1}), "generate: these options are for --model"),
        (config(images=(), models=("mini",), generate={"sead": 1}), "unknown key sead; did you mean seed"),
        (BenchConfig(suite="scene", images=(images,)), "suite 'scene' is unknown"),
        (BenchConfig(suite="own", models=("mini",)), "suite own: has no prompts to draw"),
        (BenchConfig(suite="own", images=(images,), layout="folder"), "suite own: has no prompts; expected --prompts"),
    ):
        with pytest.raises(UsageError, match=message):
            run(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_draw_the_suite_s_prompts_into_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[GenerateConfig] = []

    def generate(config: GenerateConfig, out: Path) -> None:
        asked.append(config)
        scene_manifest(out, 2)

    monkeypatch.setattr("llm4gen_model.generate.run.generate", generate)
    drawn = config(images=(), models=("true", "shifted"), metrics=("scene_reader",), generate={"n_prompts": 2})
    run(drawn, tmp_path / "out")
    assert asked == [GenerateConfig(models=("true", "shifted"), prompts="scenes", n_prompts=2)]
    assert results_of(tmp_path / "out")["models"] == ["true", "shifted"]
    assert results_of(tmp_path / "out")["scores"][0]["mean"] == 1.0
    run(drawn, tmp_path / "out")
    assert len(asked) == 1
    with pytest.raises(UserError, match="n_prompts: 2 -> 3"):
        run(
            config(images=(), models=("true", "shifted"), metrics=("scene_reader",), generate={"n_prompts": 3}),
            tmp_path / "out",
        )


class Page(HTMLParser):
    """What a browser would make of the page: elements, text by element, and whether every element is closed."""

    VOID = ("meta", "img", "br", "wbr", "line", "circle", "input", "link")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def test_the_report_is_whole_self_contained_and_accessible(tmp_path: Path) -> None:
    run(config(manifest(tmp_path / "images")), tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    images = list(page.all("img"))
    assert len(images) == 12
    assert all((image["src"] or "").startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert {image["class"] for image in images} == {"pixelated"}
    assert images[0]["width"] == "144"  # 48 px three times as large
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert all(header["scope"] for header in page.all("th"))
    assert all(plot["aria-label"] for plot in page.all("svg"))
    [policy] = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert (policy or "").startswith("default-src 'none'; img-src data:;")
    rows = [attributes for attributes in page.all("section") if attributes.get("class") == "row"]
    assert [row["data-category"] for row in rows] == ["0", "1"] * 3
    values = [json.loads(row["data-values"] or "") for row in rows]
    assert all([len(of_metric) for of_metric in of_row] == [2] for of_row in values)
    assert len(list(page.all("script"))) == 1


def test_prompts_models_and_categories_are_shown_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    prompts = [Prompt(f"p{i}<script>", SCRIPT, f"<img src=x onerror=alert({i})>", 3, None) for i in range(2)]
    write_manifest(folder, prompts, {"model": [picture(0), picture(1)]})
    rows = pq.read_table(folder / "images.parquet").to_pylist()
    write_rows(folder, [row | {"model": "<script>m</script>"} for row in rows])
    run(config(folder), tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    assert len(list(page.all("script"))) == 1
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    texts = [text for _, text in page.texts]
    assert SCRIPT in texts
    assert "<script>m</script>" in texts


def test_the_gallery_is_capped_and_says_so(tmp_path: Path) -> None:
    run(config(manifest(tmp_path / "images", 9), max_gallery_rows=4), tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    assert len([row for row in page.all("section") if row.get("class") == "row"]) == 4
    assert any("4 of 9 rows" in text for _, text in page.texts)


def test_large_pictures_become_thumbnails_and_failed_ones_a_reason(tmp_path: Path) -> None:
    prompts = [Prompt("p0", "wide", "x", 1, None), Prompt("p1", "lost", "x", 1, None)]
    folder = write_manifest(tmp_path / "images", prompts, {"m": [Image.new("RGB", (1024, 512)), picture(1)]})
    (folder / "images" / "m" / "00001-0.png").unlink()
    run(config(folder, allow_missing=True), tmp_path / "out")
    page = Page(tmp_path / "out" / "report.html")
    [shown] = page.all("img")
    assert (shown["width"], shown["height"]) == ("384", "192")
    assert (shown["src"] or "").startswith("data:image/jpeg")
    assert ("div", "no such image") in page.texts


def test_folders_sampled_differently_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = [Prompt("p0", "a", "x", 1, None)]
    for name, scale in (("a", 5.0), ("b", 7.5)):
        folder = write_manifest(tmp_path / name, prompts, {name: [picture(1)]})
        sampling = {"fingerprint": {"sampling": {"guidance_scale": scale, "seed": 0}}}
        (folder / "manifest.json").write_text(json.dumps(sampling), encoding="utf-8")
    run(config(tmp_path / "a", tmp_path / "b"), tmp_path / "out")
    assert "Sampled differently: a -> b: guidance_scale: 5.0 -> 7.5" in capsys.readouterr().out


def test_the_terminal_tells_of_seen_and_unseen_prompts_with_their_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config(manifest(tmp_path / "images")), tmp_path / "without")
    assert "nseen" not in capsys.readouterr().out
    prompts = scene_prompts(50)
    folder = write_manifest(tmp_path / "scenes", prompts, {"m": [picture(i) for i in range(len(prompts))]})
    run(config(folder), tmp_path / "out")
    printed = capsys.readouterr().out
    assert "| seen " in printed
    assert printed.index("| unseen - seen ") < printed.index("Unseen less seen compares different prompts")


def test_prompts_that_ask_for_nothing_give_no_scores_and_one_line(tmp_path: Path) -> None:
    spec = '{"objects": [], "relations": [], "background": null}'
    folder = write_manifest(tmp_path / "images", [Prompt("p0", "a", "x", 1, spec)], {"m": [picture(1)]})
    with pytest.raises(UserError, match="scene_reader: not one of 1 images has a value; no prompt asks for anything"):
        run(config(folder, metrics=("scene_reader",)), tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "scores.parquet").num_rows == 0
    assert (tmp_path / "out" / "report.html").exists()
