"""`python -m pipelines.labels`: can the scene reader be believed on generated pictures?"""

from __future__ import annotations

from pathlib import Path

import click

from llm4gen_data.options import HELP_SETTINGS, one_line_errors

EARLIER, COMMITTED = (Path(__file__).parent / version for version in ("v1", "v2"))


@click.group(context_settings=HELP_SETTINGS)
def labels() -> None:
    """The scene reader against objects of generated pictures labelled by eye."""


@labels.command()
@click.argument("source", type=click.Path(path_type=Path, file_okay=False))
@click.option("--n-objects", type=click.IntRange(min=1), default=300, help="As many as the prompts ask for.")
@click.option("--seed", type=int, default=0, help="Of the sample.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the sample.")
def sheets(source: Path, n_objects: int, seed: int, out: Path) -> None:
    """Draw a sample of SOURCE, a folder of generated pictures or a scored run, and make it ready for the eye.

    Writes contact sheets that say nothing of what is on them, and labels.txt with a line a picture to fill in. With a
    larger --n-objects, more pictures are added to a sample, and its labels are kept.
    """
    from pipelines.labels.sample import draw_sample, image_folders, read_sample, write_sample
    from pipelines.labels.sheets import write_sheets

    numbers = write_sample(draw_sample(image_folders(source), n_objects, seed), out)
    pictures, _ = read_sample(out)
    files = write_sheets([(picture.number, picture.image) for picture in pictures], out / "sheets")
    click.echo(f"{len(numbers)} pictures on {len(files) - 1} sheets in {out / 'sheets'}; fill in {out / 'labels.txt'}")


@labels.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=COMMITTED)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON file to write.")
def agree(folder: Path, out: Path | None) -> None:
    """Compare what the reader sees in the pictures of FOLDER with its labels.  [default: those committed here]"""
    from benchmarks.metrics.scene_reader import SceneReader
    from llm4gen_data.errors import UserError
    from llm4gen_data.runs import make_folder, sha256_file, write_json
    from llm4gen_data.scenes.read import read_scene
    from pipelines.labels.agreement import agreement, match, tell
    from pipelines.labels.sample import read_sample

    pictures, seen = read_sample(folder)
    labelled = [(picture, eye) for picture in pictures if (eye := seen.get(picture.number)) is not None]
    if not labelled:
        raise UserError(f"{folder / 'labels.txt'}: no picture is labelled yet")
    if out is not None:
        make_folder(out.parent)
    compared = [c for picture, eye in labelled for c in match(picture.number, eye, read_scene(picture.image).objects)]
    result = {
        "reader": SceneReader().identity(),
        "labels_sha256": sha256_file(folder / "labels.txt"),
        "n_pictures": len(labelled),
        "n_not_labelled": len(pictures) - len(labelled),
        **agreement(compared),
    }
    if out is not None:
        write_json(out, result)
    click.echo(tell(result))


@labels.command()
@click.option("--n-scenes", type=click.IntRange(min=30), default=1500, show_default=True, help="Drawn scenes.")
def textures(n_scenes: int) -> None:
    """Fit the weights of the reader's textures anew, and set them beside those it has.

    Learned on drawn scenes and the objects of labels v1, tested on those of labels v2.
    """
    import numpy as np

    from benchmarks.report.tables import markdown
    from llm4gen_data.scenes.patterns import WEIGHTS
    from pipelines.labels.textures import drawn_examples, fitted_weights, labelled_examples, shares

    drawn, seen, unseen = drawn_examples(n_scenes), labelled_examples(EARLIER), labelled_examples(COMMITTED)
    fitted = fitted_weights([*drawn, *seen])
    click.echo(np.array2string(fitted, precision=1, suppress_small=True, floatmode="fixed"))
    rows = [["", "drawn", "labels v1", "labels v2 (none learned on them)"]]
    for name, weights in (("the reader's", WEIGHTS), ("fitted now", fitted)):
        told = [shares(weights, examples) for examples in (drawn, seen, unseen)]
        rows.append([name, *(f"{s.right:.1%} right, {s.wrong:.1%} wrong, {s.untold:.1%} untold" for s in told)])
    click.echo(markdown(rows))


if __name__ == "__main__":
    one_line_errors(labels)()
