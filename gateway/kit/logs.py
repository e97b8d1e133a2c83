"""This file is how logs are written: one JSON object a line on standard error, with no secret in it."""

import json
import logging
import re
import sys
from typing import Any

import structlog

SECRET = re.compile(r"pcg(?:reg1|key1)_[A-Za-z0-9_\-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END[^\n]*|\Z)")
"""What our own secrets look like; anything of that shape is struck out wherever it turns up in a log."""


def without_secrets(text: str) -> str:
    """Return `text` with everything that has the shape of one of our secrets struck out."""
    return SECRET.sub("[secret]", text)


def _strike_out(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: _cleaned(value) for key, value in event.items()}


def _cleaned(value: Any) -> Any:  # noqa: ANN401 - whatever somebody logs
    match value:
        case None | bool() | int() | float() | logging.LogRecord():  # the record is taken out before a line is written
            return value
        case str():
            return without_secrets(value)
        case dict():
            return {_cleaned(key): _cleaned(one) for key, one in value.items()}
        case list() | tuple():
            return [_cleaned(one) for one in value]
    return without_secrets(repr(value))  # what JSON does not know would be written like this, unread by us


def _line(event: object, **options: Any) -> str:  # noqa: ANN401 - what structlog passes on to json.dumps
    """Return an event as JSON in printable ASCII: whatever is in it, it is one line that moves no cursor."""
    return json.dumps(event, **options).replace("\x7f", "\\u007f")


def configure(*, program: str, verbose: bool = False) -> None:
    """Send structlog and the standard library's logging to standard error as JSON lines.

    `program` is bound to every line. Called once, by a program's entry.
    """
    level = logging.DEBUG if verbose else logging.INFO
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _strike_out,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_line),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("aiohttp.access", "websockets", "asyncio", "sqlalchemy", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(program=program)
