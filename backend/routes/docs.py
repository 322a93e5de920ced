"""Handbook and API in a browser, from files of this package: no request leaves this machine."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from meshtune.backend import handbook

router = APIRouter(include_in_schema=False)
for path in (f"/{handbook.PATH}", f"/{handbook.PATH}/{{file:path}}"):
    router.add_api_route(path, handbook.page, methods=["GET"])

# Relative addresses, so that they hold behind a proxy that adds a prefix.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Meshtune API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """const base = new URL(".", location.href).pathname.replace(/\\/$/, "") || "/";
fetch("openapi.json").then((answer) => answer.json()).then((spec) => SwaggerUIBundle({
  spec: { ...spec, servers: [{ url: base }] },
  dom_id: "#docs", deepLinking: true, validatorUrl: null
}));
"""
VENDORED = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


@router.get("/docs")
def docs() -> HTMLResponse:
    """Every route, to read and to try."""
    return HTMLResponse(PAGE)


@router.get("/docs/{file}")
def docs_file(file: str) -> Response:
    """What the page loads."""
    if file == "start.js":
        return Response(START, media_type="text/javascript")
    if file not in VENDORED:
        raise HTTPException(404)
    content = (files("fastapi_offline") / "static" / file).read_bytes()
    return Response(
        content, media_type=VENDORED[file], headers={"cache-control": "public, max-age=86400"}
    )
