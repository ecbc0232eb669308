"""The addresses of the page: its files, the stream of events, and the charts' data."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from common.errors import UserError
from desk.dashboard.history import SPANS, History, UnknownSymbolError
from desk.dashboard.hub import Hub
from desk.dashboard.market import Market
from desk.dashboard.pipeline import Pipeline
from desk.dashboard.safety import App, Safety
from desk.system import System

PAGE = Path(__file__).parent / "page"
_VIEWS = ("/", "/symbol/{symbol:path}", "/alerts", "/pipeline")
_encode = msgspec.json.Encoder(decimal_format="number").encode


def application(system: System, token: str | None, names: frozenset[str]) -> App:
    """Make the page's server.

    Parameters
    ----------
    system
        What it shows.
    token
        What browsers have to know; None for no such thing.
    names
        Host names that it goes by, beside localhost and addresses.

    """
    hub = Hub(Market(system), Pipeline(system))
    history = History(system)

    async def page(_: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def events(request: Request) -> Response:
        if hub.is_full:
            raise HTTPException(503, "too many browsers look at this page")
        asked = request.query_params
        stream = hub.events(asked.get("symbol"), pipeline="pipeline" in asked)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def chart(request: Request) -> Response:
        return await _chart(history, request)

    routes = [
        *(Route(view, page) for view in _VIEWS),
        Route("/events", events),
        Route("/chart", chart),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    return Safety(Starlette(routes=routes), token, names)


async def _chart(history: History, request: Request) -> Response:
    asked = request.query_params
    symbol, span = asked.get("symbol", "").upper(), asked.get("span", "hour")
    try:
        if "at" in asked:
            found = await asyncio.to_thread(history.around, symbol, asked["at"])
        elif "since" in asked:
            found = await asyncio.to_thread(history.between, symbol, asked["since"], asked.get("until", "~"))
        elif span in SPANS:
            found = await asyncio.to_thread(history.span, symbol, span)
        else:
            return _json({"error": f"there is no span {span}: choose one of {', '.join(SPANS)}"}, 400)
    except UnknownSymbolError as error:
        return _json({"error": f"There are no ticks of {symbol}.", "near": error.near}, 404)
    except ValueError:
        return _json({"error": "a moment is written as 2026-01-31T09:30:00.000000Z"}, 400)
    except UserError as error:
        return _json({"error": str(error)}, 502)
    return _json(found)


def _json(value: Any, status: int = 200) -> Response:  # noqa: ANN401  (whatever is sent)
    return Response(_encode(value), status, {"Cache-Control": "no-store"}, "application/json")
