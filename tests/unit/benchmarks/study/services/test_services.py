import contextlib
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.study.analysis import analyse
from benchmarks.study.config import AnalysisConfig
from benchmarks.study.exports import export_study
from benchmarks.study.imports import import_votes
from benchmarks.study.records import Vote, read_study, read_votes, trials_of
from benchmarks.study.services.fastchat import make_study_of_battles
from llm4gen_data.errors import UsageError, UserError
from tests.unit.benchmarks.study.simulated import simulated_study, simulated_votes, write_study

SAMPLES = Path(__file__).parent / "samples"
URL = "https://example.org/images"
STRENGTHS = {"one": 0.5, "two": -0.5}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "study"
    made = simulated_study(list(STRENGTHS), n_prompts=4, n_raters=3)
    return write_study(folder, *made, simulated_votes(*made, STRENGTHS))


def imported(source: str, file: Path, study: Path, out: Path) -> list[Vote]:
    import_votes(source, [file], study, out)
    return read_votes(out, read_study(study))


@pytest.mark.parametrize("service", ["label-studio", "argilla", "mturk", "prolific"])
def test_exports_hold_every_trial_once_and_nothing_of_key_or_checks(tmp_path: Path, study: Path, service: str) -> None:
    export_study(service, study, URL, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for secret in ("gold", "one", "repeat"):
        assert f'"{secret}"' not in text
        assert f",{secret}," not in text
    if service != "prolific":
        for trial_id, trial in trials_of(read_study(study)).items():
            assert text.count(trial_id) == 1
            assert f"{URL}/{trial.left}" in text
        assert "text of p0" not in "".join(p.read_text(encoding="utf-8") for p in files if "aesthetic" in str(p))
    with pytest.raises(UserError, match="exists"):
        export_study(service, study, URL, tmp_path / "out")
    with pytest.raises(UsageError, match="expected the address"):
        export_study(service, study, "javascript:alert(1)", tmp_path / "other")


def test_label_studios_configuration_compares_two_images_and_offers_a_tie(tmp_path: Path, study: Path) -> None:
    export_study("label-studio", study, URL, tmp_path / "out")
    view = ElementTree.parse(tmp_path / "out" / "2-semantic" / "config.xml").getroot()
    pairwise, choices = view.find("Pairwise"), view.find("Choices")
    assert pairwise is not None
    assert pairwise.get("toName") == "left,right"
    assert {image.get("name") for image in view.iter("Image")} == {"left", "right"}
    assert choices is not None
    assert [choice.get("value") for choice in choices] == ["tie"]


def test_prolific_gets_its_parameters_and_the_completion_code(tmp_path: Path, study: Path) -> None:
    export_study("prolific", study, "https://example.org/form.html", tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "prolific.json").read_text(encoding="utf-8"))
    assert settings["external_study_url"].startswith("https://example.org/form.html?PROLIFIC_PID={{%PROLIFIC_PID%}}&")
    assert settings["completion_url"].endswith("cc=CODE1")
    assert settings["total_available_places"] == 3


def test_the_export_of_a_label_studio_server_is_read(tmp_path: Path, study: Path) -> None:
    votes = imported("label-studio", SAMPLES / "label_studio.json", study, tmp_path / "votes.jsonl")
    assert [(vote.trial_id, vote.choice, vote.rater_id, vote.seconds) for vote in votes] == [
        ("s00t0000", "left", "ls-1", 2.5),
        ("s00t0001", "right", "ls-1", 2.5),
        ("s00t0002", "tie", "ls-1", 2.5),
    ]


def test_the_results_of_a_batch_on_mturk_are_read_and_rejected_ones_are_not(tmp_path: Path, study: Path) -> None:
    votes = imported("mturk", SAMPLES / "mturk.csv", study, tmp_path / "votes.jsonl")
    assert [(vote.trial_id, vote.choice, vote.rater_id, vote.seconds) for vote in votes] == [
        ("s00t0000", "left", "A1EXAMPLE", 12),
        ("s00t0001", "tie", "A1EXAMPLE", 7),
    ]
    assert [vote.answered_at for vote in votes] == ["2026-01-05T09:00:12-08:00", "2026-07-06T09:00:07-07:00"]


def test_a_batchs_answers_in_one_column_are_read_as_well(tmp_path: Path, study: Path) -> None:
    row = {"WorkerId": "A1", "AssignmentId": "1", "AssignmentStatus": "Approved", "WorkTimeInSeconds": "3"}
    row |= {"SubmitTime": "2026-01-05T09:00:12Z", "Input.trial_id": "s00t0000", "Answer.choice": "right"}
    with (tmp_path / "batch.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    assert imported("mturk", tmp_path / "batch.csv", study, tmp_path / "votes.jsonl")[0].choice == "right"


def test_only_those_who_finished_on_prolific_count(tmp_path: Path, study: Path) -> None:
    lines = import_votes("form", [study / "votes.jsonl"], study, tmp_path / "v.jsonl", SAMPLES / "prolific.csv")
    votes = read_votes(tmp_path / "v.jsonl", read_study(study))
    assert {vote.rater_id for vote in votes} == {"rater-0", "rater-1"}
    assert "1 raters left out: RETURNED" in lines
    told = json.loads((tmp_path / "raters.json").read_text(encoding="utf-8"))
    assert told["age"] == "median 37.5 (31 to 44; 0 not told)"
    assert told["ethnicity simplified"] == "White 1"
    assert "rater-" not in json.dumps(told)


def test_a_rater_unknown_to_prolific_is_named(tmp_path: Path, study: Path) -> None:
    known = (SAMPLES / "prolific.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "p.csv").write_text("".join(known[:2]), encoding="utf-8")
    with pytest.raises(UserError, match="'rater-1' is not among the participants"):
        import_votes("form", [study / "votes.jsonl"], study, tmp_path / "v.jsonl", tmp_path / "p.csv")
    assert not (tmp_path / "v.jsonl").exists()


def argilla_answers(tmp_path: Path, study: Path) -> Any:
    export_study("argilla", study, URL, tmp_path / "out")
    records = json.loads((tmp_path / "out" / "1-aesthetic" / "records.json").read_text(encoding="utf-8"))
    users = ["00000000-0000-0000-0000-000000000003", "00000000-0000-0000-0000-000000000004"]
    responses = [{"value": choice, "user_id": user} for choice, user in zip(("tie", "left"), users, strict=True)]
    return [
        {**records[0], "responses": {"preference": responses}, "suggestions": {}, "vectors": {}},
        {**records[1], "responses": {}},
    ]


def label_studio_answers(tmp_path: Path, study: Path) -> Any:
    return json.loads((SAMPLES / "label_studio.json").read_text(encoding="utf-8"))


def test_argillas_answers_are_read(tmp_path: Path, study: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(argilla_answers(tmp_path, study)), encoding="utf-8")
    votes = imported("argilla", tmp_path / "a.json", study, tmp_path / "votes.jsonl")
    assert [(vote.choice, vote.rater_id[-1], vote.seconds) for vote in votes] == [("tie", "3", 0), ("left", "4", 0)]


def spoil_label_studio(name: str, tasks: Any) -> None:
    annotation = tasks[1]["annotations"][0]
    {
        "unknown trial": lambda: tasks[1]["data"].update(trial_id="s99t0000"),
        "a list as trial": lambda: tasks[1]["data"].update(trial_id=["s00t0000"]),
        "bad choice": lambda: annotation["result"][0]["value"].update(selected="both"),
        "two answers": lambda: annotation["result"].append(tasks[2]["annotations"][0]["result"][0]),
        "no rater": lambda: annotation.update(completed_by=None),
        "no time": lambda: annotation.update(created_at="yesterday"),
        "twice, differing": lambda: tasks[1].update(data=tasks[0]["data"]),
        "no annotations": lambda: tasks[1].pop("annotations"),
        "not a task": lambda: tasks.__setitem__(1, 7),
    }[name]()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unknown trial", "task 2, annotation 1: trial_id = 's99t0000': no such trial"),
        ("a list as trial", "task 2, annotation 1: trial_id"),
        ("bad choice", "task 2, annotation 1: choice = 'both': expected left, right, tie"),
        ("two answers", "task 2, annotation 1: 2 answers, 'right', 'tie'"),
        ("no rater", "task 2, annotation 1: completed_by = None"),
        ("no time", "task 2, annotation 1: created_at = 'yesterday'"),
        ("twice, differing", "on trial s00t0000: right, but left in"),
        ("no annotations", "task 2: no annotations"),
        ("not a task", "task 2: no annotations"),
    ],
)
def test_one_bad_row_stops_the_import_and_is_named(tmp_path: Path, study: Path, name: str, expected: str) -> None:
    tasks = label_studio_answers(tmp_path, study)
    spoil_label_studio(name, tasks)
    (tmp_path / "a.json").write_text(json.dumps(tasks), encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json") as error:
        import_votes("label-studio", [tmp_path / "a.json"], study, tmp_path / "votes.jsonl")
    assert expected in str(error.value)
    assert not (tmp_path / "votes.jsonl").exists()


@pytest.mark.parametrize("answers", [label_studio_answers, argilla_answers])
def test_any_json_in_any_place_ends_in_one_line_or_in_votes(
    tmp_path: Path, study: Path, answers: Callable[[Path, Path], Any]
) -> None:
    service = "argilla" if answers is argilla_answers else "label-studio"
    whole = answers(tmp_path, study)[:1]

    def places(value: Any, path: tuple[Any, ...] = ()) -> Any:
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield from places(inner, (*path, key))

    oddities: tuple[Any, ...] = (3, "x" * 300, [], {})
    for number, path in enumerate(places(whole)):
        for odd in oddities:
            changed = json.loads(json.dumps([whole]))
            holder = changed
            for key in (0, *path)[:-1]:
                holder = holder[key]
            holder[(0, *path)[-1]] = odd
            (tmp_path / "a.json").write_text(json.dumps(changed[0]), encoding="utf-8")
            out = tmp_path / f"{number}-{type(odd).__name__}.jsonl"
            with contextlib.suppress(UserError):  # nothing else is raised
                import_votes(service, [tmp_path / "a.json"], study, out)
                continue
            assert not out.exists()


def test_the_same_download_twice_counts_once_and_nothing_is_overwritten(tmp_path: Path, study: Path) -> None:
    lines = import_votes("form", [study / "votes.jsonl"] * 2, study, tmp_path / "v.jsonl")
    assert "54 votes there twice: counted once" in lines
    assert (tmp_path / "v.jsonl").read_bytes() == (study / "votes.jsonl").read_bytes()
    with pytest.raises(UsageError, match="votes are not overwritten"):
        import_votes("form", [study / "votes.jsonl"], study, tmp_path / "v.jsonl")


def test_battles_become_a_study_that_can_be_analysed(tmp_path: Path) -> None:
    lines = make_study_of_battles([SAMPLES / "fastchat.json"], tmp_path / "study")
    assert lines[0].startswith("4 battles of 3 models by 3 judges")
    assert lines[1].startswith("1 left out")
    results = analyse(AnalysisConfig(tmp_path / "study", n_resamples=20), tmp_path / "out")
    rows = [row for row in results["win_rates"] if row["ties"] == "half" and row["category"] is None]
    found = {(row["model"], row["opponent"]): row for row in rows}
    assert found["alpha", "beta"]["win_rate"] == 0.75
    assert found["alpha", "gamma"]["win_rate"] == 1.0
    assert results["strengths"][0]["model"] == "alpha"


def test_raw_logs_of_fastchat_are_read(tmp_path: Path) -> None:
    sides = [{"model_name": "alpha", "conv_id": "c1"}, {"model_name": "beta", "conv_id": "c2"}]
    rows = [
        {"tstamp": 1700000000.0, "type": "chat", "model": "alpha"},
        {"tstamp": 1700000001.0, "type": "rightvote", "models": ["", ""], "states": sides, "ip": "10.0.0.1"},
    ]
    (tmp_path / "log.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    make_study_of_battles([tmp_path / "log.json"], tmp_path / "study")
    votes = read_votes(tmp_path / "study" / "votes.jsonl", read_study(tmp_path / "study"))
    assert [(vote.choice, vote.prompt_id) for vote in votes] == [("right", "c1")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"winner": "model_c"}, "battle 2: winner = 'model_c'"),
        ({"model_a": ""}, "battle 2: model_a = ''"),
        ({"model_a": "alpha"}, "battle 2: model_a and model_b are both 'alpha'"),
        ({"judge": None}, "battle 2: judge = 'None'"),
        ({"tstamp": "noon"}, "battle 2: tstamp = 'noon'"),
    ],
)
def test_a_bad_battle_is_named(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    battles = json.loads((SAMPLES / "fastchat.json").read_text(encoding="utf-8"))
    battles[1] |= change
    (tmp_path / "b.json").write_text(json.dumps(battles), encoding="utf-8")
    with pytest.raises(UserError) as error:
        make_study_of_battles([tmp_path / "b.json"], tmp_path / "study")
    assert expected in str(error.value)
    assert not (tmp_path / "study").exists()
