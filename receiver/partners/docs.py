"""GET /docs: a page to read the API and to try it. Every byte of it is ours to serve; nothing runs inline."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from swagger_ui_bundle import swagger_ui_path

_OURS: Final = Path(__file__).parent / "pages"
_THEIRS: Final = Path(str(swagger_ui_path))

FILES: Final = {
    "/docs": _OURS / "docs.html",
    "/docs/docs.js": _OURS / "docs.js",
    "/docs/swagger-ui-bundle.js": _THEIRS / "swagger-ui-bundle.js",
    "/docs/swagger-ui.css": _THEIRS / "swagger-ui.css",
    "/docs/favicon-32x32.png": _THEIRS / "favicon-32x32.png",
}

HEADERS: Final = {
    # Its requests go to this door and nowhere else, so a key that is typed into the page cannot leave for a stranger.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "public, max-age=3600",
}


def _serve(request: Request) -> Response:
    return FileResponse(FILES[request.url.path], headers=HEADERS)


ROUTES: Final[list[BaseRoute]] = [Route(path, _serve) for path in FILES]
