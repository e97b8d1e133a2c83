"""This file is API keys in the hands of whoever runs the console."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.console.api import watchers
from gateway.console.commands import app
from gateway.console.errors import KeyUnknownError
from gateway.console.keyring import ConsoleNotThereError, KeyNameInvalidError
from tests.fakes.console import Console, running_console
from tests.unit.console.test_streams import watching


async def key(console: Console, *words: str) -> str:
    """Run `pcg console key …` beside the console and return what it prints."""
    arguments = ["key", *words, "--state", str(console.settings.state)]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    if result.exception:
        raise result.exception
    return result.stdout


async def test_a_key_made_beside_a_running_console_is_good_at_once(console: Console) -> None:
    text = (await key(console, "create", "build server")).strip()

    said = await console.ask("GET", "/api/v1/whoami", key=text)

    assert (said.status, said.body["key"]) == (200, "build server")
    listed = await key(console, "list")
    assert "build server" in listed
    assert text not in listed


async def test_a_revoked_key_is_refused_at_once_and_says_how_to_get_another(console: Console) -> None:
    text = (await key(console, "create", "lost laptop")).strip()
    await console.ask("GET", "/api/v1/whoami", key=text)

    await key(console, "revoke", text.split("_")[1])
    await key(console, "revoke", text.split("_")[1])

    said = await console.ask("GET", "/api/v1/whoami", key=text)
    assert said.status == 401
    assert "pcg console key create" in said.body["message"]
    assert "revoked" in await key(console, "list")
    assert (await console.ask("GET", "/api/v1/whoami")).status == 200


async def test_a_revoked_key_watches_no_longer(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "HEARTBEAT", 0.2)
    text = (await key(console, "create", "wallboard")).strip()
    async with watching(console, key=text) as watch:
        await key(console, "revoke", text.split("_")[1])
        async with asyncio.timeout(10):
            with pytest.raises(aiohttp.ClientError):
                await watch.answer.content.read()


async def test_keys_are_kept_while_the_console_does_not_run(tmp_path: Path) -> None:
    async with running_console(tmp_path / "console") as console:
        pass
    text = (await key(console, "create", "spare")).strip()
    async with running_console(tmp_path / "console") as console:
        assert (await console.ask("GET", "/api/v1/whoami", key=text)).status == 200


def test_a_directory_without_a_console_is_left_as_it_was(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["key", "list", "--state", str(tmp_path)])

    assert isinstance(result.exception, ConsoleNotThereError)
    assert list(tmp_path.iterdir()) == []


async def test_unknown_keys_and_names_that_cannot_be_are_refused(console: Console) -> None:
    with pytest.raises(KeyUnknownError):
        await key(console, "revoke", "0123456789abcdef")
    for name in ("", "a\x1b[31m", "x" * 101):
        with pytest.raises(KeyNameInvalidError):
            await key(console, "create", name)
