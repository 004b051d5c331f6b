"""Who may talk to `study serve`: whoever knows the token, by the link, its cookie, or as bearer."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "llm4gen_study"
COOKIE_SECONDS = 30 * 24 * 3600
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


class TokenGuard:
    """ASGI middleware that lets requests with the token through and answers all others with 401.

    `/?token=...` sets the cookie and leads to the same address without the token; other parameters stay.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._choose(Request(scope))(scope, receive, send_with_headers)

    def _choose(self, request: Request) -> ASGIApp:
        in_link = request.query_params.get("token", "")
        if request.url.path == "/" and self._is_token(in_link):
            rest = request.url.remove_query_params("token").query
            response = RedirectResponse(f"/?{rest}" if rest else "/", HTTPStatus.SEE_OTHER)
            # lax: a strict cookie would not come along on the way here from the link in a mail
            response.set_cookie(COOKIE, self.token, max_age=COOKIE_SECONDS, httponly=True, samesite="lax")
            return response
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or self._is_token(request.cookies.get(COOKIE, "")):
            return self.app
        return JSONResponse({"error": "open the link that you were given"}, HTTPStatus.UNAUTHORIZED)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())
