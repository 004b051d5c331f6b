import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.images import refuse_faults
from benchmarks.importers import evalscope, folder, geneval, t2i_compbench
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.hostile import png

TEXTS = ("a red cat", "a blue dog", "a green cow.")
PROMPTS = [Prompt(f"color-{i:03d}", text, "color", 3, None) for i, text in enumerate(TEXTS)]


def save(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number).save(path)
    return path


def samples(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        save(root / "samples" / f"{name}.png", number)
    return root


def running(n: int = 10) -> list[str]:
    return [f"{text}_{i * n + j:06d}" for i, text in enumerate(TEXTS) for j in range(n)]


def placed(images: list[Any]) -> list[tuple[str, int, int]]:
    return [(image.prompt.prompt_id, image.seed, image.sample_index) for image in images]


@pytest.mark.parametrize("n", [1, 3, 10])
def test_compbench_running_index(tmp_path: Path, n: int) -> None:
    images, remarks = t2i_compbench.read(samples(tmp_path / "sd15", *running(n)), PROMPTS)
    expected = [(f"color-{i:03d}", 42 + j, j) for i in range(3) for j in range(n)]
    assert placed(images) == expected
    assert remarks == []
    assert {image.model for image in images} == {"sd15"}


def test_compbench_folder_of_categories_and_the_samples_folder_itself(tmp_path: Path) -> None:
    samples(tmp_path / "sd15" / "color", *running(1))
    samples(tmp_path / "sd15" / "shape", "a cube_000000")
    cube = Prompt("shape-000", "a cube", "shape", 2, None)
    images, _ = t2i_compbench.read(tmp_path / "sd15", [*PROMPTS, cube])
    assert [image.prompt.category for image in images] == ["color"] * 3 + ["shape"]
    images, _ = t2i_compbench.read(tmp_path / "sd15" / "shape" / "samples", [*PROMPTS, cube])
    assert (images[0].model, images[0].prompt) == ("sd15", cube)


def test_compbench_real_seeds_are_mended_and_told(tmp_path: Path) -> None:
    names = [f"{text}_{seed:06d}" for text in TEXTS for seed in (42, 43)]
    images, remarks = t2i_compbench.read(samples(tmp_path, *names), PROMPTS)
    assert placed(images) == [(f"color-{i:03d}", seed, seed - 42) for i in range(3) for seed in (42, 43)]
    assert len(remarks) == 1
    assert "no running index" in remarks[0]
    assert "mended" in remarks[0]
    with pytest.raises(UserError, match=r"--strict: .*no running index"):
        refuse_faults(images, remarks)


def test_compbench_index_in_another_order_is_mended(tmp_path: Path) -> None:
    images, remarks = t2i_compbench.read(
        samples(tmp_path, f"{TEXTS[1]}_000000", f"{TEXTS[0]}_000001", f"{TEXTS[2]}_000002"), PROMPTS
    )
    assert placed(images) == [(f"color-{i:03d}", 42, 0) for i in range(3)]
    assert "seeds counted from 42" in remarks[0]


def test_compbench_same_prompt_twice_cannot_be_mended(tmp_path: Path) -> None:
    twice = [*PROMPTS, Prompt("color-003", TEXTS[0], "color", 3, None)]
    names = [*running(1), f"{TEXTS[0]}_000003"]
    images, _ = t2i_compbench.read(samples(tmp_path / "sound", *names), twice)
    assert placed(images)[-1] == ("color-003", 42, 0)
    broken = [f"{text}_{seed:06d}" for text in TEXTS for seed in (42, 43)]
    with pytest.raises(UserError, match="is two prompts"):
        t2i_compbench.read(samples(tmp_path / "broken", *broken), twice)


def test_compbench_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no index in the name"):
        t2i_compbench.read(samples(tmp_path / "a", "a red cat"), PROMPTS)
    with pytest.raises(UserError, match="no such prompt among the 3"):
        t2i_compbench.read(samples(tmp_path / "b", *running(1), "a pink cat_000003"), PROMPTS)
    with pytest.raises(UserError, match="its prompt is none of the suite's 3"):
        t2i_compbench.read(samples(tmp_path / "c", "a pink cat_000003"), PROMPTS)
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match="no samples/"):
        t2i_compbench.read(tmp_path / "d", PROMPTS)
    (tmp_path / "e" / "samples").mkdir(parents=True)
    with pytest.raises(UserError, match="no pictures"):
        t2i_compbench.read(tmp_path / "e", PROMPTS)


def test_compbench_missing_double_and_unreadable_are_told(tmp_path: Path) -> None:
    root = samples(tmp_path, *running(2))
    (root / "samples" / f"{TEXTS[2]}_000005.png").unlink()
    save(root / "samples" / f"{TEXTS[0]}_000000.jpg")
    (root / "samples" / f"{TEXTS[1]}_000002.png").write_bytes(b"not a picture")
    images, remarks = t2i_compbench.read(root, PROMPTS)
    assert any("there twice" in remark for remark in remarks)
    assert any("1 of 6 pictures (3 prompts x 2) missing" in remark for remark in remarks)
    assert [image.problem is None for image in images] == [True, True, False, True, True]


def test_compbench_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = save(tmp_path / "secret.png")
    root = tmp_path / "set"
    (root / "samples").mkdir(parents=True)
    (root / "samples" / f"{TEXTS[0]}_000000.png").symlink_to(outside)
    with pytest.raises(UserError, match="leaves the folder"):
        t2i_compbench.read(root, PROMPTS)


def geneval_set(root: Path, n_samples: int = 4) -> Path:
    for i, tag in enumerate(("two_object", "colors")):
        inner = root / f"{i:05d}"
        metadata = {"tag": tag, "include": [{"class": "cat", "count": 1}], "prompt": f"a photo of {i} cats"}
        for j in range(n_samples):
            save(inner / "samples" / f"{j:04d}.png", 4 * i + j)
        save(inner / "grid.png")
        (inner / "metadata.jsonl").write_text(json.dumps(metadata))
    return root


def test_geneval(tmp_path: Path) -> None:
    images, remarks = geneval.read(geneval_set(tmp_path / "sdxl"), [])
    assert placed(images) == [(f"{i:05d}", j, j) for i in range(2) for j in range(4)]
    assert remarks == []
    assert (images[0].prompt.category, images[0].model) == ("two_object", "sdxl")
    assert json.loads(images[0].prompt.spec or "")["include"] == [{"class": "cat", "count": 1}]
    (tmp_path / "sdxl" / "00001" / "samples" / "0003.png").unlink()
    _, remarks = geneval.read(tmp_path / "sdxl", [])
    assert "1 of 2 prompts have fewer than 4 images" in remarks[0]
    (tmp_path / "sdxl" / "00001" / "metadata.jsonl").write_text("[")
    with pytest.raises(UserError, match="no metadata of GenEval"):
        geneval.read(tmp_path / "sdxl", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no GenEval samples"):
        geneval.read(tmp_path / "empty", [])


def evalscope_set(root: Path, rows: list[dict[str, Any]]) -> Path:
    for i in range(3):
        save(root / "pictures" / f"{i}.png", i)
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_evalscope(tmp_path: Path) -> None:
    rows = [{"id": i // 2, "prompt": TEXTS[i // 2], "image_path": f"pictures/{i}.png"} for i in range(3)]
    root = evalscope_set(tmp_path / "flux", rows)
    images, remarks = evalscope.read(root, [])
    assert placed(images) == [("0", 0, 0), ("0", 1, 1), ("1", 0, 0)]
    assert "1 of 2 prompts have fewer than 2" in remarks[0]
    images, _ = evalscope.read(root, PROMPTS)
    assert images[0].prompt == PROMPTS[0]
    evalscope_set(root, [{**rows[0], "image_path": str((root / "pictures" / "0.png").resolve())}, rows[0], rows[2]])
    images, remarks = evalscope.read(root, [])
    assert len(images) == 2
    assert "listed twice" in remarks[0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 0, "prompt": "x"}, "line 1: expected an object"),
        ({"id": 0, "prompt": "x", "image_path": "../../etc/passwd"}, "leaves the folder"),
        ({"id": 0, "prompt": "x", "image_path": "/etc/passwd"}, "leaves the folder"),
        ({"id": 0, "prompt": " ", "image_path": "pictures/0.png"}, "expected a prompt"),
    ],
)
def test_evalscope_refusals(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evalscope.read(evalscope_set(tmp_path, [row]), [])


def test_evalscope_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        evalscope.read(tmp_path, [])
    (tmp_path / "more.jsonl").touch()
    with pytest.raises(UserError, match=r"2 \.jsonl files, expected one"):
        evalscope.read(tmp_path, [])


def test_folder_with_prompts(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for name in ("color-000-0", "color-000-1", "color-001", "color-002/7", "holiday"):
        save(root / f"{name}.png")
    save(root / "color-001.jpg")
    images, remarks = folder.read(root, [*PROMPTS, Prompt("color-003", "a fox", "color", 2, None)])
    assert placed(images) == [("color-000", 0, 0), ("color-000", 1, 1), ("color-001", 0, 0), ("color-002", 7, 7)]
    assert "holiday.png: no prompt of that name" in remarks[0]
    assert "color-001.png there twice" in remarks[1]
    assert "1 of 4 prompts have no picture: color-003" in remarks[2]
    with pytest.raises(UserError, match=r"expected names like x.png or x-0.png"):
        folder.read(root, [Prompt("x", "x", "color", 1, None)])


def test_whole_numbers_need_not_be_written_alike(tmp_path: Path) -> None:
    numbered = [Prompt(str(i), f"cat number {i}", "all", 3, None) for i in range(1, 61)]
    for i in range(1, 61):
        save(tmp_path / "plain" / f"{i:02d}.png", i)
        save(tmp_path / "samples" / f"{i:03d}" / "0001.png", i)
    images, remarks = folder.read(tmp_path / "plain", numbered)
    assert placed(images) == [(str(i), 0, 0) for i in range(1, 61)]
    assert images[6].path == "07.png"
    assert remarks == []
    assert placed(folder.read(tmp_path / "samples", numbered)[0]) == [(str(i), 1, 1) for i in range(1, 61)]

    save(tmp_path / "plain" / "7.png")
    with pytest.raises(UserError, match=r"plain: 07\.png and 7\.png are both of prompt '7'"):
        folder.read(tmp_path / "plain", numbered)
    apart = [*numbered[:7], Prompt("07", "a dog", "all", 2, None)]
    images, _ = folder.read(tmp_path / "plain", apart)
    assert [image.path for image in images[-2:]] == ["7.png", "07.png"]
    assert images[-1].prompt.prompt_id == "07"


def test_strict_decodes_every_picture(tmp_path: Path) -> None:
    root = samples(tmp_path, *running(1))
    cut = root / "samples" / f"{TEXTS[1]}_000001.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    images, remarks = t2i_compbench.read(root, PROMPTS)
    assert remarks == []
    assert all(image.problem is None for image in images)  # its head is sound
    with pytest.raises(UserError, match=r"--strict: .*a blue dog_000001.png"):
        refuse_faults(images, remarks)


def test_bombs_are_problems_not_crashes(tmp_path: Path) -> None:
    root = samples(tmp_path, *running(1))
    (root / "samples" / f"{TEXTS[0]}_000000.png").write_bytes(png(30000, 30000))
    images, _ = t2i_compbench.read(root, PROMPTS)
    assert "over the limit" in (images[0].problem or "")
