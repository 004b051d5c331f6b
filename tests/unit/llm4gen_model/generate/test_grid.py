import pytest
from PIL import Image

from llm4gen_model.generate.grid import CELL_PIXELS, MARGIN_PIXELS, MAX_LINES, draw_grid, fitted, text_font, wrapped


def test_small_pictures_are_enlarged_by_whole_factors_and_large_ones_shrunk() -> None:
    small = Image.new("RGB", (64, 64), "red")
    small.putpixel((0, 0), (0, 0, 255))
    cell = fitted(small)
    assert cell.size == (256, 256)
    assert set(cell.getcolors() or []) == {(16, (0, 0, 255)), (256 * 256 - 16, (255, 0, 0))}
    assert fitted(Image.new("RGB", (512, 512))).size == (256, 256)
    assert fitted(Image.new("RGB", (1024, 512))).size == (256, 128)
    assert fitted(Image.new("L", (100, 50))).size == (200, 100)


def test_long_texts_are_wrapped_and_cut_with_an_ellipsis() -> None:
    font = text_font()
    lines = wrapped("a small red circle left of a large blue square", font, 150)
    assert len(lines) > 1
    assert all(font.getlength(line) <= 150 for line in lines)
    assert " ".join(lines) == "a small red circle left of a large blue square"
    assert len(wrapped("word " * 1000, font, 150)) == MAX_LINES
    assert wrapped("word " * 1000, font, 150)[-1].endswith("…")
    (endless,) = wrapped("x" * 500, font, 150)
    assert endless.endswith("…")
    assert font.getlength(endless) <= 150
    assert wrapped("", font, 150) == [""]


def test_the_grid_has_a_row_a_prompt_and_a_column_a_model() -> None:
    colours = ["red", "green"]
    rows = [[Image.new("RGB", (64, 64), colour) for colour in colours] for _ in range(3)]
    grid = draw_grid(["base", "cam"], ["a red cube", "two words", "déjà vu 図"], rows)
    assert grid.width == MARGIN_PIXELS + 2 * (CELL_PIXELS + MARGIN_PIXELS)
    counts = {colour: number for number, colour in grid.getcolors(10**6) or []}
    assert counts[(255, 0, 0)] == counts[(0, 128, 0)] == 3 * CELL_PIXELS**2


@pytest.mark.parametrize(
    ("n_prompts", "n_columns", "n_strips"), [(6, 2, 1), (7, 2, 2), (24, 2, 3), (24, 1, 5), (7, 5, 1)]
)
def test_many_prompts_stand_side_by_side_in_strips(n_prompts: int, n_columns: int, n_strips: int) -> None:
    rows = [[Image.new("RGB", (64, 64), "red")] * n_columns] * n_prompts
    prompts = ["a prompt that takes several lines under its pictures, as dense ones do; " * 4] * n_prompts
    grid = draw_grid(["model"] * n_columns, prompts, rows)
    assert grid.width == n_strips * (MARGIN_PIXELS + n_columns * (CELL_PIXELS + MARGIN_PIXELS))
    assert n_prompts <= 6 or grid.height <= 2 * grid.width
    counts = {colour: number for number, colour in grid.getcolors(10**6) or []}
    assert counts[(255, 0, 0)] == n_prompts * n_columns * CELL_PIXELS**2
