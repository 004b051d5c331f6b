"""Detectors and depth models in an interpreter of their own; the programs are written by the tests."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.metrics.detection import Detection, load_depth, load_detector
from llm4gen_data.errors import UserError

PICTURES = [Image.new("RGB", (30, 20), (200, 0, 0)), Image.new("RGB", (10, 10))]
WORDS = [["cat", "dog"], ["frog"]]

SERVER = """
    import json, sys
    told = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["request"] == "identity":
            told = request
            answer = {"identity": {"weights": "abc", "order": told.get("channel_order")}}
        else:
            answer = ANSWER
        print(json.dumps(answer), flush=True)
"""
DETECT = """{"detections": [
    [{"label": word, "box": [0, 0, 5, 5], "score": 0.5} for word in words] for words in request["words"]]}"""
DEPTH = """[open(path, "wb").write(data) for path in request["write"]] and {}"""


def program(folder: Path, answer: str, before: str = "") -> str:
    script = folder / "program.py"
    script.write_text(before + textwrap.dedent(SERVER).replace("ANSWER", answer.replace("\n", " ")))
    return f"'{sys.executable}' '{script}'"


def test_detections_of_an_external_program(tmp_path: Path) -> None:
    detector = load_detector(
        "unidet", {"backbone": "RS200", "protocol": "fixed", "command": program(tmp_path, DETECT)}
    )
    found = detector.detect(PICTURES, WORDS)
    assert found[1] == [Detection("frog", (0, 0, 5, 5), 0.5)]
    assert [own.label for own in found[0]] == ["cat", "dog"]
    assert detector.detect(PICTURES, WORDS) == found
    assert detector.identity() == {
        "detector": "external",
        "version": 1,
        "comparable_with_unidet": True,
        "backbone": "RS200",
        "protocol": "fixed",
        "channel_order": "RGB",
        "score_threshold": 0.1,
        "program": {"weights": "abc", "order": "RGB"},
    }


@pytest.mark.parametrize(
    ("backbone", "protocol", "order"),
    [("RS200", "official", "BGR"), ("R50", "official", "BGR"), ("R50", "fixed", "BGR")],
)
def test_unidet_is_shown_its_channels_as_in_the_original(
    tmp_path: Path, backbone: str, protocol: str, order: str
) -> None:
    options = {"backbone": backbone, "protocol": protocol, "command": program(tmp_path, DETECT)}
    assert load_detector("unidet", options).identity()["program"]["order"] == order


def test_without_unidet_the_line_says_what_it_takes() -> None:
    with pytest.raises(UserError, match=r"RS200_6x\+2x\.pth .*prismer.*detector_options.command.*detector=owlv2"):
        load_detector("unidet", {"backbone": "RS200", "protocol": "official"})
    with pytest.raises(UserError, match="no such program"):
        load_detector("external", {"command": "/no/such/python detect.py"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"detections": []}', "a list of detections for each picture"),
        ('{"detections": [[{"label": "cat", "box": [5, 0, 0, 5], "score": 1}], []]}', "is no detection"),
        ('{"detections": [[{"label": "cat", "box": [0, 0, 1, 1], "score": float("nan")}], []]}', "is no detection"),
        ('{"detections": [["cat"], []]}', "is no detection"),
        ('{"error": "out of\\nmemory"}', "answered out of"),
        ("[1]", "expected a JSON object"),
        ('sys.exit(print("bad luck", file=sys.stderr))', "ended: bad luck"),
        ("__import__('time').sleep(9)", r"no answer in 0\.5 s"),
    ],
)
def test_what_a_program_does_wrong_is_one_line(tmp_path: Path, answer: str, message: str) -> None:
    detector = load_detector("external", {"command": program(tmp_path, answer), "timeout_s": 5})
    detector.identity()
    detector.program.timeout_s = 0.5  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=message):
        detector.detect(PICTURES, WORDS)


def test_other_text_on_its_output_is_refused(tmp_path: Path) -> None:
    detector = load_detector("external", {"command": program(tmp_path, DETECT, before="print('loading ...')\n")})
    with pytest.raises(UserError, match="answered b'loading"):
        detector.detect(PICTURES, WORDS)


def test_depth_of_an_external_program(tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.linspace(0, 1, 600).reshape(20, 30))
    data = f"data = open({str(tmp_path / 'depth.npy')!r}, 'rb').read()\n"
    depth = load_depth("external", {"command": program(tmp_path, DEPTH, before=data)})
    (found,) = depth.estimate(PICTURES[:1])
    np.testing.assert_allclose(found, np.linspace(0, 1, 600).reshape(20, 30), rtol=1e-6)
    assert depth.identity()["program"] == {"weights": "abc", "order": None}
    with pytest.raises(UserError, match=r"shape \(20, 30\), expected numbers from 0 to 1 of shape \(10, 10\)"):
        depth.estimate(PICTURES[1:])
    np.save(tmp_path / "depth.npy", np.full((20, 30), np.nan))
    bad = load_depth("external", {"command": program(tmp_path, DEPTH, before=data)})
    with pytest.raises(UserError, match="from 0 to 1"):
        bad.estimate(PICTURES[:1])
    (tmp_path / "depth.npy").write_bytes(b"\x93NUMPY rubbish")
    rubbish = load_depth("external", {"command": program(tmp_path, DEPTH, before=data)})
    with pytest.raises(UserError, match=r"left no \.npy file"):
        rubbish.estimate(PICTURES[:1])
