"""`study serve` under 200 raters at once and kill -9, and against those who do not play by the rules."""

import asyncio
import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.study.records import read_study, read_votes
from tests.commands import assert_one_line, run
from tests.studies import TOKEN, free_port, serving, small_study, start_server, vote_row

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
N_RATERS = 200
N_KILLS = 5
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = small_study(tmp_path_factory.mktemp("served"))
    with serving(folder) as url:
        yield folder, url


async def post_until_answered(client: Any, path: str, body: Any) -> dict[str, Any]:
    """As the page does: again until the server answers."""
    while True:
        try:
            answer = await client.post(path, json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.4)
            continue
        assert answer.status_code == 200, answer.text
        decoded: dict[str, Any] = answer.json()
        return decoded


def test_no_acknowledged_vote_is_lost_and_none_is_there_twice(tmp_path: Path) -> None:
    folder = small_study(tmp_path, gold_per_axis=0)
    study = read_study(folder)
    port, chance = free_port(), random.Random(0)
    n_trials = len(study.slots[0])
    kill_at = sorted(chance.sample(range(100, N_RATERS * n_trials - 100), N_KILLS), reverse=True)
    acknowledged: dict[tuple[str, str], str] = {}
    server: list[subprocess.Popen[str]] = [start_server(folder, port)]

    async def rater(name: str) -> None:
        url = f"http://127.0.0.1:{port}"
        # each has a browser of their own; verify and trust_env cost time and mean nothing here
        async with httpx.AsyncClient(
            base_url=url, headers=BEARER, verify=False, trust_env=False, timeout=30
        ) as client:
            entered = await post_until_answered(client, "/api/slot", {"rater_id": name})
            for trial in study.slots[int(entered["slot"])]:
                choice = random.Random(name + trial.trial_id).choice(["left", "right", "tie"])
                await post_until_answered(client, "/api/votes", vote_row(study, trial, name, choice))
                acknowledged[name, trial.trial_id] = choice

    async def kill() -> None:
        while kill_at:
            await asyncio.sleep(0.002)
            if len(acknowledged) >= kill_at[-1]:
                kill_at.pop()
                server[0].kill()
                server[0].communicate()
                server[0] = await asyncio.to_thread(start_server, folder, port)

    async def everybody() -> None:
        await asyncio.gather(kill(), *(rater(f"rater-{i}") for i in range(N_RATERS)))

    try:
        asyncio.run(everybody())
    finally:
        server[0].kill()
        server[0].communicate()
    votes = read_votes(folder / "votes.jsonl", study)  # refuses a rater's second vote on a trial
    assert {(vote.rater_id, vote.trial_id): vote.choice for vote in votes} == acknowledged
    assert len(votes) == N_RATERS * n_trials
    raters = [json.loads(line) for line in (folder / "raters.jsonl").read_text().splitlines()]
    assert len({row["rater_id"] for row in raters}) == len(raters) == N_RATERS
    shares = Counter(row["slot"] for row in raters)
    assert max(shares.values()) - min(shares.values()) <= 1


def test_a_stranger_gets_nothing(address: tuple[Path, str]) -> None:
    folder, url = address
    picture = read_study(folder).slots[0][0].left
    wrong = {"Authorization": "Bearer a-token-of-nobody-here"}
    for headers in ({}, wrong, {"Cookie": "llm4gen_study=wrong"}):
        for path in ("/", "/?token=wrong", f"/images/{picture}", "/study.json"):
            answer = httpx.get(url + path, headers=headers)
            assert answer.status_code == 401
            assert picture not in answer.text
        assert httpx.post(url + "/api/slot", headers=headers, json={"rater_id": "x"}).status_code == 401
        assert httpx.post(url + "/api/votes", headers=headers, json={}).status_code == 401


def test_the_link_sets_a_cookie_and_keeps_who_the_rater_is(address: tuple[Path, str]) -> None:
    folder, url = address
    with httpx.Client(base_url=url) as client:
        answer = client.get(f"/?PROLIFIC_PID=abc&token={TOKEN}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?PROLIFIC_PID=abc")
        assert "httponly" in answer.headers["set-cookie"].lower()
        page = client.get(answer.headers["location"])
        assert page.status_code == 200
        assert page.headers["x-content-type-options"] == "nosniff"
        for secret in (TOKEN, "sharp", "blurred"):
            assert secret not in page.text
        name = read_study(folder).slots[0][0].left
        assert client.get(f"/images/{name}").content == (folder / "images" / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/images/../key.json",
        "/images/..%2fkey.json",
        "/images/%2e%2e/key.json",
        "/images/..%5ckey.json",
        "/images/%00",
        "/images//etc/passwd",
        "/images/",
        "/key.json",
        "/checks.json",
        "/votes.jsonl",
        "/..%2f..%2fetc%2fpasswd",
    ],
)
def test_path_tricks_find_nothing(address: tuple[Path, str], path: str) -> None:
    answer = httpx.request("GET", httpx.URL(address[1]).copy_with(raw_path=path.encode()), headers=BEARER)
    assert answer.status_code == 404
    assert "sharp" not in answer.text


def test_what_is_no_vote_is_refused_and_leaves_nothing(address: tuple[Path, str]) -> None:
    folder, url = address
    study = read_study(folder)
    with httpx.Client(base_url=url, headers=BEARER) as client:
        slot = int(client.post("/api/slot", json={"rater_id": "eve"}).json()["slot"])
        before = (folder / "votes.jsonl").read_bytes()
        good = vote_row(study, study.slots[slot][0], "eve")
        other = vote_row(study, study.slots[(slot + 1) % len(study.slots)][0], "eve")
        for bad in (
            [good],
            {**good, "choice": "both"},
            {**good, "rater_id": "../../etc"},
            {**good, "rater_id": "nobody"},
            {**good, "trial_id": "s0000t9999"},
            {**good, "left_sha256": good["right_sha256"]},
            {**good, "seed": True},
            {**good, "answered_at": "2020-01-01T00:00:00Z"},
            {**good, "more": 1},
            other,
        ):
            answer = client.post("/api/votes", json=bad)
            assert answer.status_code == 422, bad
            assert answer.json()["error"].startswith("vote: ")
        json_type = {"Content-Type": "application/json"}
        assert client.post("/api/votes", content=b"null", headers=json_type).status_code == 422
        assert client.post("/api/votes", content=b"{", headers=json_type).status_code == 400
        assert client.post("/api/votes", content=b"[" * 8000, headers=json_type).status_code == 400
        assert client.post("/api/votes", content=b" " * 10_000, headers=json_type).status_code == 413
        assert client.post("/api/votes", content=json.dumps(good)).status_code == 415
        assert client.post("/api/slot", json={"rater_id": "a b"}).status_code == 422
        assert client.get("/api/votes").status_code == 405
        assert (folder / "votes.jsonl").read_bytes() == before

        assert client.post("/api/votes", json=good).status_code == 200
        assert client.post("/api/votes", json=good).status_code == 200
        assert client.post("/api/votes", json={**good, "choice": "right"}).status_code == 409
        mine = [vote for vote in read_votes(folder / "votes.jsonl", study) if vote.rater_id == "eve"]
        assert [vote.choice for vote in mine] == ["left"]
        assert client.post("/api/slot", json={"rater_id": "eve"}).json()["votes"] == [good]


def test_a_study_is_served_once_and_with_a_good_token(address: tuple[Path, str]) -> None:
    folder, _ = address
    again = run("llm4gen-bench", "study", "serve", folder, "--port", 0, timeout_s=60)
    assert_one_line(again, 1, "another process serves this study")
    weak = run("llm4gen-bench", "study", "serve", folder, "--token", "secret", timeout_s=60)
    assert_one_line(weak, 2, "--token")
