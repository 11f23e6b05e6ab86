"""The operators' pages: their templates, in the frame that says who has signed in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from receiver.pages import templates

_TEMPLATES: Final = templates(Path(__file__).parent / "templates")


def page(request: Request, template: str, context: Mapping[str, Any], *, status: int = 200) -> Response:
    """Render a page. `operator` in the context is who has signed in."""
    return _TEMPLATES.TemplateResponse(request, template, {"operator": None, **context}, status_code=status)
