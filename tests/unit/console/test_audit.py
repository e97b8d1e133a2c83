"""This file is what the console's log tells of who did what, and never a secret."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.console import auth, fleet, pairing, tokens
from gateway.identity.tokens import parse
from tests.fakes.console import Console, candidate, cluster, finish, paired_appliance, start, token

CLUSTER = "/api/v1/projects/default/clusters/demo"


def told(lines: list[Any], event: str) -> dict[str, Any]:
    (line,) = [one for one in lines if one["event"] == event]
    return dict(line)


@pytest.fixture(autouse=True)
def _uncached_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    import structlog  # noqa: PLC0415

    for module in (auth, fleet, pairing, tokens):
        monkeypatch.setattr(module, "log", structlog.get_logger(module.__name__))


async def test_what_people_did_is_told_with_their_name(console: Console) -> None:
    with capture_logs() as lines:
        text = await token(console, "spare")
        spare = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"][0]["id"]
        await console.ask("DELETE", f"/api/v1/registration-tokens/{spare}")
        await paired_appliance(console)
        await console.put(cluster())
        await console.ask("DELETE", CLUSTER)
        await console.ask("DELETE", "/api/v1/gateways/dc1")

    assert told(lines, "registration token revoked")["token"] == spare
    assert told(lines, "gateway paired")["address"] == "127.0.0.1"
    for event in ("cluster wished", "cluster delete wished", "gateway removed"):
        assert (told(lines, event)["gateway"], told(lines, event)["author"]) == ("dc1", "admin")
    assert text not in str(lines)
    assert console.key not in str(lines)


async def test_who_is_refused_is_told_with_the_address_and_not_without_end(console: Console) -> None:
    wrong = "pcgkey1_0123456789abcdef_" + "A" * 43
    with capture_logs() as lines:
        for _ in range(20):
            await console.ask("GET", "/api/v1/whoami", key=wrong)

    refused = [one for one in lines if one["event"] == "API key refused"]
    assert len(refused) == 5
    assert (refused[0]["log_level"], refused[0]["address"], refused[0]["key"]) == (
        "warning",
        "127.0.0.1",
        "0123456789abcdef",
    )
    assert "AAAA" not in str(lines)


async def test_pairings_that_fail_are_told(console: Console) -> None:
    parsed = parse(await token(console))
    await finish(console, parsed, candidate()[0])
    with capture_logs() as lines:
        await finish(console, parsed, candidate()[0])
        for _ in range(40):
            await start(console, parsed)

    assert lines[0]["code"] == "pairing.token_used"
    assert {one["event"] for one in lines} == {"pairing refused", "pairing asked for too often"}
