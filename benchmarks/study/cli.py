"""llm4gen-bench study: the commands of human studies. Heavy imports stay inside the commands."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.options import image_options
from benchmarks.study.services.service import EXPORTERS, IMPORTERS
from llm4gen_data.options import config_options, echo_config, out_option


@click.group()
def study() -> None:
    """Ask people: from folders of images to win rates one can defend."""


@study.command()
@image_options
@click.option("--n-prompts", type=int, help="Show so many prompts, spread over the categories.  [default: all]")
@click.option("--raters-per-pair", type=int, help="How many people judge each pair.  [default: 3]")
@click.option("--pairs-per-rater", type=int, help="How many pairs a person judges, on each axis.  [default: 30]")
@click.option("--forced-choice", is_flag=True, default=None, help="Offer no tie.")
@click.option("--allow-missing", is_flag=True, default=None, help="Go on without the images that are missing.")
@click.option("--seed", type=int, help="Of the design.  [default: 0]")
@config_options
@out_option("Study directory: keep it to yourself; raters get what `form` or `serve` shows.")
def make(
    images: tuple[Path, ...],
    layout: str | None,
    prompts: Path | None,
    n_prompts: int | None,
    raters_per_pair: int | None,
    pairs_per_rater: int | None,
    forced_choice: bool | None,
    allow_missing: bool | None,
    seed: int | None,
    out: Path,
    config_file: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Put two or more models' images side by side: balanced, blinded, seeded.

    Says first what the study will be able to tell; --dry-run says that and stops.
    """
    from benchmarks.study.config import StudyConfig
    from llm4gen_data.config import load_config
    from llm4gen_data.registry import missing_package

    try:
        from benchmarks.study.make import design_study, make_study, read_images
    except ModuleNotFoundError as error:
        raise missing_package("llm4gen-bench study make", error) from error

    flags = {
        "images": images or None,
        "layout": layout,
        "prompts": prompts,
        "n_prompts": n_prompts,
        "raters_per_pair": raters_per_pair,
        "pairs_per_rater": pairs_per_rater,
        "forced_choice": forced_choice,
        "allow_missing": allow_missing,
        "seed": seed,
    }
    config = load_config(StudyConfig, config_file, sets, flags)
    if dry_run:
        echo_config(config)
        for line in design_study(config, read_images(config)).lines:
            click.echo(f"# {line}")
    else:
        for line in make_study(config, out):
            click.echo(line)


@study.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="HTML file to write.  [default: STUDY/form.html]"
)
@click.option("--slot", type=click.IntRange(min=0), help="Only this rater's trials.  [default: all, the page chooses]")
@click.option(
    "--linked", is_flag=True, help="Refer to images/ beside the page, for a static host.  [default: pictures inside]"
)
def form(folder: Path, out: Path | None, slot: int | None, linked: bool) -> None:
    """Write the page on which raters vote: one file that works offline, by keyboard, mouse and touch."""
    from benchmarks.study.form import write_form

    for line in write_form(folder, out or folder / "form.html", slot, linked):
        click.echo(line)


@study.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", help="Address to listen on; any other than this one opens it to others.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, help="Port; 0 takes a free one.")
@click.option("--token", help="What raters must know, at least 16 letters and digits.  [default: a new one, printed]")
def serve(folder: Path, host: str, port: int, token: str | None) -> None:
    """Serve the page to a lab and keep the votes: each is on the disk before it is acknowledged.

    Votes go to STUDY/votes.jsonl, who has which slot to STUDY/raters.jsonl; started again, it goes on with them.
    """
    from llm4gen_data.registry import missing_package

    try:
        from benchmarks.study.serve import serve_study
    except ModuleNotFoundError as error:
        raise missing_package("llm4gen-bench study serve", error) from error
    serve_study(folder, host, port, token)


@study.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", "service", required=True, metavar="NAME", help=f"{', '.join(EXPORTERS)}, or module:attribute.")
@click.option(
    "--url",
    required=True,
    help="Where the files of STUDY/images lie for raters; for Prolific, the page that `form` wrote.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="New folder to write.")
def export(folder: Path, service: str, url: str, out: Path) -> None:
    """Write a study in the format of an annotation service or a crowd market; says what to do with it."""
    from benchmarks.study.exports import export_study

    for line in export_study(service, folder, url, out):
        click.echo(line)


@study.command("import")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--from",
    "source",
    default="form",
    metavar="NAME",
    help=f"form (the page or `serve`), {', '.join(IMPORTERS)}, fastchat, or module:attribute.",
)
@click.option(
    "--study", "folder", type=click.Path(path_type=Path, file_okay=False), help="Study directory; not for fastchat."
)
@click.option(
    "--participants",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prolific's demographic data: only those count who finished; raters.json says who they are together.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file; for fastchat, a new study.")
def import_(files: tuple[Path, ...], source: str, folder: Path | None, participants: Path | None, out: Path) -> None:
    """Read votes from wherever they were given, each held to the study; one bad row stops it and is named."""
    from llm4gen_data.errors import UsageError

    if source == "fastchat":
        from benchmarks.study.services.fastchat import make_study_of_battles

        if folder is not None or participants is not None:
            raise UsageError("--from fastchat makes a study of its own: expected no --study and no --participants")
        lines = make_study_of_battles(files, out)
    elif folder is None:
        raise UsageError("expected --study DIR, the study that the votes are of")
    else:
        from benchmarks.study.imports import import_votes

        lines = import_votes(source, files, folder, out, participants)
    for line in lines:
        click.echo(line)


@study.command()
@click.argument("folder", metavar="STUDY", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--votes", type=click.Path(path_type=Path, dir_okay=False), help="Votes file.  [default: STUDY/votes.jsonl]"
)
@click.option("--model", metavar="NAME", help="The model whose win rates are told.  [default: the study's first]")
@click.option(
    "--published",
    multiple=True,
    metavar="NAME",
    help="Published win rates to draw beside: paper (LLM4GEN's Fig. 7) or a CSV file; repeatable.",
)
@click.option(
    "--results",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Run of `llm4gen-bench run` on the same images: its metrics against the raters; repeatable.",
)
@click.option(
    "--card", type=click.Path(path_type=Path, dir_okay=False), help="YAML with what the report card cannot know."
)
@click.option(
    "--raters", type=click.Path(path_type=Path, dir_okay=False), help="raters.json of `import --participants`."
)
@config_options
@out_option("Folder of the results.")
def analyse(
    folder: Path,
    votes: Path | None,
    model: str | None,
    published: tuple[str, ...],
    results: tuple[Path, ...],
    card: Path | None,
    raters: Path | None,
    out: Path,
    config_file: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Win rates with intervals, agreement, strengths, a chart and a report card.

    Raters are left out by the study's rules, and that is written, before the key is opened.
    """
    from benchmarks.study.config import AnalysisConfig
    from llm4gen_data.config import load_config

    flags = {
        "study": folder,
        "votes": votes,
        "model": model,
        "published": published or None,
        "results": results or None,
        "card": card,
        "raters": raters,
    }
    config = load_config(AnalysisConfig, config_file, sets, flags)
    if dry_run:
        echo_config(config)
        return
    from llm4gen_data.registry import missing_package

    try:
        from benchmarks.study.analysis import analyse as analyse_study
        from benchmarks.study.publish import told
    except ModuleNotFoundError as error:
        raise missing_package("llm4gen-bench study analyse", error) from error
    for line in told(analyse_study(config, out), out):
        click.echo(line)
