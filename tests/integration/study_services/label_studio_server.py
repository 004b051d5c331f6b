"""Run by an interpreter that has Label Studio itself: `python label_studio_server.py FOLDER PORT`.

FOLDER is what `study export --to label-studio` wrote. A server of its own, on the loopback and in FOLDER/server, takes
each configuration and its first tasks; annotations are posted as its editor posts them; FOLDER/server.json is its
export as JSON. What was chosen, by trial id, goes to FOLDER/chosen.json.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TOKEN, N_TASKS = "0123456789abcdef0123456789abcdef01234567", 9
USER = ("rater@example.org", "not-a-secret-1")


def main(folder: Path, port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "server"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    command = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), "--init", "first"]
    command += [
        "--username",
        USER[0],
        "--password",
        USER[1],
        "--user-token",
        TOKEN,
        "--data-dir",
        str(folder / "server"),
    ]
    executable = str(Path(sys.executable).parent / "label-studio")
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([executable, *command], env=os.environ | settings, stdout=log, stderr=log)
        try:
            wait_for(f"{address}/health", server)
            exported: list[Any] = []
            chosen: dict[str, str] = {}
            for axis in sorted(path for path in folder.iterdir() if (path / "config.xml").exists()):
                project = call(
                    f"{address}/api/projects",
                    {"title": axis.name, "label_config": (axis / "config.xml").read_text(encoding="utf-8")},
                )["id"]
                tasks = json.loads((axis / "tasks.json").read_text(encoding="utf-8"))[:N_TASKS]
                call(f"{address}/api/projects/{project}/import", tasks)
                listed = call(f"{address}/api/tasks?project={project}&fields=all&page_size=100")["tasks"]
                for i, task in enumerate(sorted(listed, key=lambda task: task["id"])):
                    choice = ("left", "right", "tie")[i % 3]
                    chosen[task["data"]["trial_id"]] = choice
                    tie: dict[str, Any] = {
                        "from_name": "tie",
                        "to_name": "left",
                        "type": "choices",
                        "value": {"choices": ["tie"]},
                    }
                    side = {"from_name": "preference", "to_name": "left,right", "type": "pairwise"}
                    region = tie if choice == "tie" else {**side, "value": {"selected": choice}}
                    body = {"result": [{"id": f"r{i}", **region}], "lead_time": 2.5}
                    call(f"{address}/api/tasks/{task['id']}/annotations/", body)
                exported += call(f"{address}/api/projects/{project}/export?exportType=JSON")
        finally:
            server.terminate()
            server.wait(timeout=30)
    (folder / "server.json").write_text(json.dumps(exported), encoding="utf-8")
    (folder / "chosen.json").write_text(json.dumps(chosen), encoding="utf-8")


def call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error.code} {error.read()[:500]!r}") from error


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise SystemExit("the server did not start; see server.log")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
