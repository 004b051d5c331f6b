"""The results in words and tables; every sentence follows from a number, also where there is no gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.report.tables import estimate_text, markdown, p_text
from pipelines.reproduce.preset import Preset

LEVEL = 0.05
DIGITS = 3


def results_text(
    preset: Preset, results: Mapping[str, Any], about: Sequence[str], probes: Mapping[str, Any], source: str
) -> str:
    """`results.md`; below every table stands `source`."""
    primary = results["primary"]
    titles = {name: arm.title for name, arm in preset.chosen_arms().items()}
    parts = [
        f"# {preset.title}",
        f"Primary end point: `{primary['kind']}` of the scene reader over the {primary['n_prompts']} prompts with "
        f"{preset.primary.min_objects} to {preset.primary.max_objects} objects. {_how_named(preset, primary)} "
        "Brackets: 95 % intervals over training seeds and prompts, both drawn anew; with one seed they know nothing "
        "of how trainings differ.",
        *_not_run(preset),
        "![the arms](results.png)",
        *headline(preset, results),
        *_example_parts(results),
        "## Arms",
        "Loss: of the last quarter of the training, mean over the seeds that all arms have. Arms that read the same "
        "texts of the same pairs saw them with the same noise, so it tells them apart even where pictures do not.",
        markdown(_arm_cells(results, titles)),
        "## Comparisons",
        "Paired by prompt, and by seed where both have the same; p (Holm) allows for all "
        f"{len(results['comparisons'])} of these. Difference in loss: of the last quarter of the training, by seed.",
        markdown(_comparison_cells(results)),
        *_probe_parts(probes),
        "## By category of prompt",
        *_pivots(results["by_category"], "category", "kind"),
        "## By kind of fact",
        "Over all prompts that ask for it.",
        markdown(_pivot(results["by_kind"], "kind")),
        "The comparisons, kind by kind. Only the primary end point was named for them beforehand: these say where a "
        "difference lies, and nothing allows for their number.",
        markdown(_pivot([_as_difference(row) for row in results["comparisons_by_kind"]], "kind", sign="+")),
        *_efficiency_parts(preset, results),
        "## How it was made",
        "\n".join(f"- {line}" for line in about),
    ]
    told = [f"{part.rstrip()}\n\n{source}" if part.startswith("|") else part.rstrip() for part in parts]
    return "\n\n".join(told) + "\n"


def _how_named(preset: Preset, primary: Mapping[str, Any]) -> str:
    """That the end point stood before anything ran, or by which rule another took its place."""
    first = preset.primary.kinds[0]
    if primary["kind"] == first:
        return "It was named before anything ran."
    reached = primary["reached_on_validation"][first]
    return (
        f"The one named first, `{first}`, reached {reached:.1%} at best on the validation prompts, less than "
        f"{preset.primary.least:.0%}; by the rule that was written before anything ran, this one takes its place."
    )


def _not_run(preset: Preset) -> Iterator[str]:
    """Which arms of the experiment are not here, so that nobody takes a part for the whole."""
    if missing := [name for name in preset.arms if name not in preset.chosen_arms()]:
        yield f"Arms of the preset that were not run: {', '.join(missing)}."


def headline(preset: Preset, results: Mapping[str, Any]) -> Iterator[str]:
    """What can be claimed, arm by arm."""
    best = max((row["mean"] or 0.0 for row in results["arms"]), default=0.0)
    if best < preset.primary.least:
        yield (
            f"**At the floor**: no arm reaches {preset.primary.least:.0%} on the primary end point, so that it "
            "cannot tell the arms apart, whatever the p values say."
        )
    for row in results["claim"]:
        against, rival = row["less_best"], row["best_rival"]
        told = f"{_points(against)} against the best of {', '.join(row['rivals'])} (which is {rival})"
        yield f"**{row['arm']}**: {told}, p {_p(against['p_value'])}. {_verdict(against)}"
        share = row.get("share_of_gain")
        if share is not None:
            yield _share_text(row["arm"], share)


def _example_parts(results: Mapping[str, Any]) -> Iterator[str]:
    if results["has_examples"]:
        yield (
            "The first prompt of each category, nothing chosen, by the first seed of the arms of the claim, from the "
            "same noise:"
        )
        yield "![pictures](examples.png)"


def _verdict(row: Mapping[str, Any]) -> str:
    p, mean, low, high = row["p_value"], row["mean"], row["low"], row["high"]
    if p is None or low is None:
        return "Too little was run to say whether that is more than chance."
    if low == high == 0:
        return "No prompt tells the two apart."
    if p < LEVEL and mean > 0 and low > 0:
        return "A gain that chance does not explain."
    if high < 0:
        return "It is worse, and chance does not explain that."
    return (
        f"Not told from no difference: the interval allows for anything from {_percent(low)} to "
        f"{_percent(high)} points."
    )


def _share_text(arm: str, share: Mapping[str, Any]) -> str:
    gain, control, oracle = share["oracle_gain"], share["control"], share["oracle"]
    whole = f"{oracle} gains {_points(gain)} over {control}"
    if share["mean"] is None or share["low"] is None:
        return f"{whole}: too little or too uncertain for the share of it that {arm} reaches to have an interval."
    return (
        f"{whole}; {arm} reaches {100 * share['mean']:.0f} % of that [{100 * share['low']:.0f} %, "
        f"{100 * share['high']:.0f} %]."
    )


def _points(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return "no value"
    mean = f"{_percent(row['mean'])} points"
    return mean if row["low"] is None else f"{mean} [{_percent(row['low'])}, {_percent(row['high'])}]"


def _percent(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never "-0.0"


def _p(p: float | None) -> str:
    text = p_text(p)
    return text if text.startswith(("<", "-")) else f"= {text}"


def _arm_cells(results: Mapping[str, Any], titles: Mapping[str, str]) -> list[list[str]]:
    losses = _losses(results)
    # Losses differ more between seeds, which draw other noise, than between arms.
    shared = set.intersection(*map(set, losses.values())) if losses else set()
    rows = [["arm", "", results["primary"]["kind"], "loss", "seeds", "prompts"]]
    for row in results["arms"]:
        own = losses.get(row["arm"])
        loss = f"{fmean(own[seed] for seed in shared):.4f}" if own and shared else "-"
        counts = [str(row["n_seeds"]), str(row["n_prompts"])]
        rows.append([row["arm"], titles[row["arm"]], estimate_text(row, DIGITS), loss, *counts])
    return rows


def _comparison_cells(results: Mapping[str, Any]) -> list[list[str]]:
    losses = _losses(results)
    rows = [["arm", "baseline", "difference", "p", "p (Holm)", "seeds", "prompts", "difference in loss"]]
    for row in results["comparisons"]:
        ps = [p_text(row["p_value"]), p_text(row["p_holm"])]
        counts = [str(row["n_seeds"]), str(row["n_prompts"])]
        loss = _loss_difference(losses.get(row["arm"], {}), losses.get(row["baseline"], {}))
        rows.append([row["arm"], row["baseline"], estimate_text(row, DIGITS, sign="+"), *ps, *counts, loss])
    return rows


def _losses(results: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """By arm and seed."""
    losses: dict[str, dict[int, float]] = {}
    for run in results["runs"]:
        if run.get("loss") is not None:
            losses.setdefault(run["arm"], {})[run["seed"]] = run["loss"]
    return losses


def _loss_difference(own: Mapping[int, float], baseline: Mapping[int, float]) -> str:
    """Its mean over the seeds that both have, and its ends where there are several."""
    found = [own[seed] - baseline[seed] for seed in sorted(own.keys() & baseline.keys())]
    if not found:
        return "-"
    ends = f" ({min(found):+.4f} to {max(found):+.4f}, {len(found)} seeds)" if len(found) > 1 else " (1 seed)"
    return f"{fmean(found):+.4f}{ends}"


def _pivots(rows: Sequence[Mapping[str, Any]], index: str, by: str) -> Iterator[str]:
    for value in dict.fromkeys(row[by] for row in rows):
        yield f"`{value}`:"
        yield markdown(_pivot([row for row in rows if row[by] == value], index))


def _as_difference(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "arm": f"{row['arm']} less {row['baseline']}"}


def _pivot(rows: Sequence[Mapping[str, Any]], index: str, sign: str = "") -> list[list[str]]:
    """A row an arm, a column a value of `index`."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    columns = list(dict.fromkeys(row[index] for row in rows))
    found = {(row["arm"], row[index]): row for row in rows}
    counts = [str(max(row["n_prompts"] for row in rows if row[index] == column)) for column in columns]
    body = [[arm, *(estimate_text(found[arm, column], DIGITS, sign=sign) for column in columns)] for arm in arms]
    return [["arm", *columns], *body, ["prompts", *counts]]


def _efficiency_parts(preset: Preset, results: Mapping[str, Any]) -> Iterator[str]:
    rows = results["efficiency"]
    if len(rows) < 2:  # all of the data alone says nothing of how much is needed
        return
    control, whole = preset.claim.control, preset.pairs.n
    yield "## How much data"
    enough = [row for row in rows if (row["less_control"]["mean"] or -1.0) >= 0]
    reached = max((row["mean"] or 0.0 for row in results["arms"]), default=0.0)
    if reached < preset.primary.least:
        yield "At the floor nothing can be said of that."
    elif enough:
        yield f"{preset.efficiency_arm} matches {control} (on {whole:,} pairs) from {enough[0]['n_pairs']:,} pairs on."
    else:
        yield f"{preset.efficiency_arm} does not match {control} (on {whole:,} pairs) with any part of the data."
    cells = [["pairs", results["primary"]["kind"], f"less {control} on {whole:,}"]]
    for row in rows:
        less = estimate_text(row["less_control"], DIGITS, sign="+")
        cells.append([f"{row['n_pairs']:,}", estimate_text(row, DIGITS), less])
    yield markdown(cells)


def _probe_parts(probes: Mapping[str, Any]) -> Iterator[str]:
    if probes.keys() - {"attention"}:
        yield "## Is there anything for a language model to add?"
    if "twins" in probes:
        (calibration,) = probes["twins"]["calibrations"]
        found = {row["skill"]: estimate_text(row["right_prompt"], 2) for row in calibration["skills"]}
        yield (
            f"clip-mini prefers a picture's own prompt to one with two colours exchanged in {found['binding']} of "
            f"cases, to one with the relation turned round in {found['relation']}; chance is 0.50."
        )
    for name, title in (("before", "Frozen text models"), ("after", "What trained CAMs give")):
        if name in probes:
            yield f"{title}, linear probes on token states:"
            yield markdown(probes[name]["cells"])
    yield from probes.get("before", {}).get("notes", [])
    if "attention" in probes:
        yield "## Where it looks"
        yield "Where a trained model of the claim looks for the words of a prompt, as CLIP and as the language model:"
        yield f"![attention maps]({probes['attention']})"
