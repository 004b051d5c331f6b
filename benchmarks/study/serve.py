"""`llm4gen-bench study serve`: the page, the pictures and the votes of a study for the raters of a lab."""

from __future__ import annotations

import json
import re
import secrets
import socket
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from benchmarks.study.form import pictures_of, render_form
from benchmarks.study.guard import TokenGuard
from benchmarks.study.journal import VoteJournal
from benchmarks.study.records import Study, read_study
from llm4gen_data.errors import UsageError, UserError

MAX_BODY_BYTES = 8192  # a vote has about 600
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


def serve_study(folder: Path, host: str, port: int, token: str | None) -> None:
    """Serve the study in `folder` until interrupted; the link with the token is printed first.

    Raises UsageError for a weak token, UserError if the port is taken or the votes cannot be gone on with.
    """
    token = token or secrets.token_urlsafe(16)
    if not TOKEN.fullmatch(token):
        raise UsageError("--token: expected 16 to 128 letters, digits, _ or -")
    study = read_study(folder)
    app = make_app(folder, study, token)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"{host}:{port}: cannot listen: {error.strerror}") from error
    name = f"[{host}]" if ":" in host else host
    click.echo(f"Study {study.study_id} at http://{name}:{listening.getsockname()[1]}/?token={token} (Ctrl-C ends)")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    server.run(sockets=[listening])


def make_app(folder: Path, study: Study, token: str) -> Starlette:
    """The application; whoever does not know `token` gets nothing. Raises UserError as VoteJournal does."""
    journal = VoteJournal(folder, study)
    pictures = frozenset(pictures_of(study.slots))
    page = render_form(study, {}, "served", {name: f"images/{name}" for name in sorted(pictures)})

    async def form(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    async def image(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in pictures:  # nothing but these names ever becomes a path
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such picture")
        return FileResponse(folder / "images" / name, headers={"Cache-Control": "private, max-age=86400, immutable"})

    async def slot(request: Request) -> Response:
        body = await _json(request)
        rater_id = body.get("rater_id") if isinstance(body, dict) else None
        number = await journal.slot(rater_id)
        votes = journal.votes_of(str(rater_id))
        trials = [asdict(trial) for trial in study.slots[number]]
        return JSONResponse({"slot": str(number), "trials": trials, "votes": votes})

    async def vote(request: Request) -> Response:
        if await journal.add(await _json(request)):
            return JSONResponse({"stored": True})
        return JSONResponse({"error": "this trial has another answer"}, HTTPStatus.CONFLICT)

    app = Starlette(
        routes=[
            Route("/", form),
            Route("/images/{name}", image),
            Route("/api/slot", slot, methods=["POST"]),
            Route("/api/votes", vote, methods=["POST"]),
        ],
        exception_handlers={UserError: _refused, HTTPException: _http_error, ClientDisconnect: _gone},
    )
    app.add_middleware(TokenGuard, token=token)
    return app


async def _json(request: Request) -> Any:
    """The body, decoded. Raises HTTPException if it is too large, of another type, or not JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {MAX_BODY_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "not JSON") from error


async def _refused(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)
