"""Run by another interpreter, one that has a service's own SDK: `python sdk.py label-studio|argilla FOLDER`.

FOLDER is what `study export` wrote for the service. The SDK checks configuration and tasks, makes answers in its own
words, and writes FOLDER/answers.json in the service's export format, as `study import` reads it.
"""

import http.server
import json
import os
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

CHOICES = ("left", "right", "tie")


def label_studio(folder: Path) -> None:
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.label_interface import LabelInterface

    exported = []
    for axis in sorted(path for path in folder.iterdir() if path.is_dir()):
        config = (axis / "config.xml").read_text(encoding="utf-8")
        interface = LabelInterface(config)
        interface.validate()
        for i, task in enumerate(json.loads((axis / "tasks.json").read_text(encoding="utf-8"))):
            assert interface.validate_task(task), task
            choice = CHOICES[i % 3]
            answer = {"tie": "tie"} if choice == "tie" else {"preference": choice}
            # The SDK names a Pairwise itself as what it is of, and then does not accept that.
            result = [{**region._dict(), "to_name": "left"} for region in interface.create_regions(answer)]
            assert interface.validate_annotation({"result": result}), result
            annotation = {
                "id": 100 + i,
                "completed_by": 1 + task["data"]["slot"],
                "created_at": "2026-01-05T09:00:10.000000Z",
                "lead_time": 4.5,
                "was_cancelled": False,
                "result": result,
            }
            exported.append({"id": i, **task, "annotations": [annotation]})
        write(folder / "one.json", exported[-1:])
        converter = Converter(config, str(folder), download_resources=False)
        converter.convert_to_json(str(folder / "one.json"), str(folder / "converted"), is_dir=False)
        assert json.loads((folder / "converted" / "result.json").read_text(encoding="utf-8"))
    write(folder / "answers.json", exported)


def argilla(folder: Path) -> None:
    with_server()
    import argilla as rg
    from argilla.records._io import JsonIO

    answered = []
    for axis in sorted(path for path in folder.iterdir() if path.is_dir()):
        settings = rg.Settings.from_json(axis / "settings.json")
        settings.validate()
        question = settings.questions["preference"]
        fields = {field.name: field.required for field in settings.fields}
        for i, record in enumerate(JsonIO._records_from_json(axis / "records.json")):
            told = record.to_dict()
            assert set(told["fields"]) == set(fields), told
            assert set(told["metadata"]) == {"slot"}
            choice = question.labels[i % len(question.labels)]
            user = uuid.UUID(int=1 + int(told["metadata"]["slot"]))
            record.responses.add(rg.Response("preference", choice, user_id=user, status="submitted"))
            answered.append(record)
    JsonIO.to_json(answered, folder / "answers.json")


def with_server() -> None:
    """Argilla's SDK asks a server who it is before it makes anything."""

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            user = {"id": str(uuid.UUID(int=1)), "username": "u", "role": "owner", "first_name": "u"}
            body = json.dumps({**user, "workspaces": [], "items": []}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {"ARGILLA_API_URL": f"http://127.0.0.1:{server.server_port}", "ARGILLA_API_KEY": "none"}


def write(path: Path, rows: list[Any]) -> None:
    path.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    {"label-studio": label_studio, "argilla": argilla}[sys.argv[1]](Path(sys.argv[2]))
