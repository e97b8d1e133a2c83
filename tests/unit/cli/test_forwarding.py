"""This file is the promises of `pcg tunnel` and `pcg audit`, as a process of its own against a whole console."""

import asyncio
import hashlib
import json
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.cli.exits import Exit
from gateway.console.store import people
from tests.fakes.console import paired_appliance
from tests.fakes.forward import Forward
from tests.fakes.targets import DENIED, Data, data_of
from tests.unit.cli.conftest import User


@asynccontextmanager
async def forwarding(user: User, *options: str) -> AsyncIterator[Forward]:
    process = await user.begins("tunnel", "forward", "dc1", "web", *options)
    forward = Forward(process)
    try:
        first = await forward.line()
        assert first, (await process.communicate())[1].decode()
        forward.port = json.loads(first)["port"] if "json" in options else int(first.split()[0].split(":")[1])
        yield forward
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def offering(user: User) -> AsyncIterator[Data]:
    """Have a gateway that offers "web", and a user who is signed in."""
    user.is_signed_in()
    data = await data_of(await paired_appliance(user.console), "web")
    async with data.open():
        yield data


async def test_a_local_port_leads_to_the_target_and_ctrl_c_ends_it_well(user: User) -> None:
    content = secrets.token_bytes(1024 * 1024)
    async with offering(user), forwarding(user, "-o", "json") as forward:
        back = await forward.through(content)
        closed = await forward.event("closed")
        code, out, err = await forward.ends()

    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()
    assert (closed["connection"], closed["sent"], closed["received"], closed["fault"]) == (
        *(1, len(content)),
        *(len(content), None),
    )
    summary = json.loads(out.splitlines()[-1])
    assert (summary["event"], summary["connections"], summary["sent"]) == ("summary", 1, len(content))
    assert (code, err) == (Exit.OK, "")


async def test_people_see_a_line_for_each_connection_and_what_it_carried(user: User) -> None:
    async with offering(user), forwarding(user) as forward:
        assert await forward.through(b"hello") == b"hello"
        lines = [await forward.line(), await forward.line()]
        code, out, err = await forward.ends(signal.SIGTERM)

    assert lines[0].rstrip().endswith("#1 open")
    assert "#1 closed after" in lines[1]
    assert "5 bytes sent, 5 bytes received" in lines[1]
    assert out.splitlines() == ["1 connections, 0 refused, 5 bytes sent, 5 bytes received"]
    assert (code, err) == (Exit.OK, "")


async def test_many_connections_share_one_tunnel_and_stay_apart(user: User) -> None:
    contents = [secrets.token_bytes(30_000) for _ in range(20)]
    async with offering(user) as data, forwarding(user, "-o", "json") as forward, asyncio.TaskGroup() as group:
        tasks = [group.create_task(forward.through(content)) for content in contents]

    assert [task.result() for task in tasks] == contents
    assert len(data.asked) == 20


async def test_a_refused_connection_is_closed_at_once_and_told_in_a_sentence(user: User) -> None:
    async with offering(user) as data, forwarding(user) as forward:
        data.reply = DENIED
        assert await forward.through(b"") == b""
        said = await forward.complaint()
        code, out, _ = await forward.ends()

    assert said.rstrip().endswith(f"#1 refused: {DENIED.detail} [{DENIED.code}]")
    assert out.splitlines() == ["0 connections, 1 refused, 0 bytes sent, 0 bytes received"]
    assert code == Exit.OK


async def test_the_lane_that_is_asked_for_reaches_the_appliance(user: User) -> None:
    async with offering(user) as data, forwarding(user, "-o", "json", "--lane", "bulk") as forward:
        await forward.through(b"x")

    assert data.asked[0].lane == "bulk"


async def test_a_stop_in_the_middle_of_a_connection_still_counts_it(user: User) -> None:
    async with offering(user), forwarding(user, "-o", "json") as forward, forward.connected() as (reader, writer):
        writer.write(b"12345")
        assert await reader.readexactly(5) == b"12345"
        code, out, _ = await forward.ends()

    closed, summary = [json.loads(line) for line in out.splitlines()[-2:]]
    assert (closed["event"], closed["fault"], summary["sent"], summary["received"]) == ("closed", "stopped here", 5, 5)
    assert code == Exit.OK


async def test_a_revoked_key_ends_the_forwarding_with_the_reason(user: User) -> None:
    async with offering(user), forwarding(user) as forward:
        await forward.through(b"x")
        async with user.console.store() as store, store.writing(await user.console.scope()) as rows:
            (key,) = await people.keys(rows)
            await people.revoke_key(rows, key.id, now=user.console.clock.now())
        async with asyncio.timeout(30):
            _, err = await forward.process.communicate()

    assert forward.process.returncode == Exit.INPUT
    assert err.decode().rstrip().endswith("[auth.not_signed_in]")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("dc9", "web"), "gateway.unknown"), (("dc1", "db"), "target.unknown"), (("dc1", "x/../y"), "cli.input_invalid")],
)
async def test_what_is_not_there_is_told_before_a_port_is_opened(
    user: User, arguments: tuple[str, str], code: str
) -> None:
    async with offering(user):
        answer = await user.pcg("tunnel", "forward", *arguments)

    assert (answer.code, answer.out) == (Exit.INPUT, "")
    (said,) = answer.err.splitlines()
    assert said.endswith(f"[{code}]")


async def test_a_taken_port_is_named_with_the_way_out(user: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with offering(user):
            answer = await user.pcg("tunnel", "forward", "dc1", "web", str(port))

    assert answer.code == Exit.INPUT
    assert f"port {port}" in answer.err
    assert "[cli.local_port]" in answer.err


async def test_targets_are_listed_with_whether_they_can_be_reached(user: User) -> None:
    async with offering(user):
        found = json.loads((await user.pcg("tunnel", "targets", "dc1", "-o", "json")).out)
        shown = await user.pcg("tunnel", "targets", "dc1")

    assert found == {"gateway": "dc1", "reachable": True, "items": [{"name": "web", "kind": "tcp"}]}
    assert [line.split() for line in shown.out.splitlines()] == [["NAME", "KIND"], ["web", "tcp"]]
    assert "keeps no road" in (await user.pcg("tunnel", "targets", "dc1")).out


async def test_the_audit_log_tells_who_reached_what(user: User) -> None:
    async with offering(user), forwarding(user, "-o", "json") as forward:
        await forward.through(b"hello")
        await forward.event("closed")
        await forward.ends()
    shown = await user.pcg("audit", "list", "--gateway", "dc1", "--limit", "1")
    every = json.loads((await user.pcg("audit", "list", "-o", "json")).out)["items"]
    ended, began = [one for one in every if one["action"] == "tunnel.stream"]

    assert (began["outcome"], ended["outcome"], ended["facts"]["sent"]) == ("began", "ended", 5)
    assert isinstance(ended["facts"]["sent"], int)
    head, row, hint = shown.out.splitlines()
    assert head.split() == ["AT", "(UTC)", "WHO", "GATEWAY/TARGET", "OUTCOME", "IN", "OUT", "SECONDS"]
    assert row.split()[2:-1] == ["admin", "dc1/web", "ended", "5", "bytes", "5", "bytes"]
    assert hint == f"older: pcg audit list --gateway dc1 --before {ended['id']}"
    older = await user.pcg("audit", "list", "--before", ended["id"], "-o", "json")
    assert next(one["id"] for one in json.loads(older.out)["items"]) == began["id"]
    assert json.loads((await user.pcg("audit", "list", "--gateway", "dc2", "-o", "json")).out) == {"items": []}
