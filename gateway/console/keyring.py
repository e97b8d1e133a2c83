"""This file is API keys in the hands of whoever runs the console: made, listed and revoked in its own database.

The database takes several programs at once, so this works while the console runs and while it does not; a running
console looks at the database for each request and heeds a revoked key at once.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from gateway.console import auth
from gateway.console.daemon import FIRST_TENANT, FIRST_USER
from gateway.console.records import KeyRow
from gateway.console.settings import ConsoleSettings
from gateway.console.store import doors, people
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.shapes import LINE_PATTERN, RULES
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

LONGEST_NAME = 100


class ConsoleNotThereError(GatewayError):
    """No console keeps its state in that directory."""

    code = "console.not_there"
    remedy = Remedy.CALLER


class KeyNameInvalidError(GatewayError):
    """An API key cannot have that name."""

    code = "key.name_invalid"
    remedy = Remedy.CALLER


async def create(settings: ConsoleSettings, name: str, *, now: datetime) -> str:
    """Make an API key for the administrator and return it; it is known only now.

    Raises KeyNameInvalidError, ConsoleNotThereError or the store's errors.
    """
    if not re.search(LINE_PATTERN, name) or len(name) > LONGEST_NAME:
        raise KeyNameInvalidError(f"the name of a key has at most {LONGEST_NAME} characters, and {RULES[LINE_PATTERN]}")
    key = auth.new_key()
    async with _keys(settings, now) as rows:
        user = await people.ensure_user(rows, FIRST_USER, now=now)
        await auth.remember(rows, user, key, name=name, now=now)
    return key.text


async def every(settings: ConsoleSettings, *, now: datetime) -> list[KeyRow]:
    """Return the API keys, the oldest first. Raises ConsoleNotThereError or the store's errors."""
    async with _keys(settings, now) as rows:
        return await people.keys(rows)


async def revoke(settings: ConsoleSettings, key_id: str, *, now: datetime) -> None:
    """Make an API key worthless at once. Raises KeyUnknownError, ConsoleNotThereError or the store's errors."""
    async with _keys(settings, now) as rows:
        await people.revoke_key(rows, key_id, now=now)


@asynccontextmanager
async def console_store(settings: ConsoleSettings) -> AsyncIterator[Store]:
    """Open the database of the console whose settings these are, running or not. Raises ConsoleNotThereError."""
    if settings.database is None and not (settings.state / "console.sqlite").exists():
        raise ConsoleNotThereError(
            f"no console keeps its state in {settings.state}: name its directory with --state",
            state=str(settings.state),
        )
    if settings.database is None:
        # Whoever is not the console's own user would leave files in there that the console cannot open.
        files.make_private_directory(settings.state)
    async with Store.open(settings.database_url) as store:
        yield store


@asynccontextmanager
async def _keys(settings: ConsoleSettings, now: datetime) -> AsyncIterator[Within]:
    async with console_store(settings) as store:
        scope = Scope(await doors.tenant_named(store, FIRST_TENANT, now=now))
        async with store.writing(scope) as rows:
            yield rows
