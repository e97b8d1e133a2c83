"""This file is what the console's busiest questions cost: an index each, and no writer for nothing."""

import asyncio
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from sqlalchemy import text

from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.messages import Accepted
from tests.fakes.console import Console, paired_appliance

QUESTIONS = {
    "SELECT 1 FROM commands WHERE gateway_id='a' AND state='pending' ORDER BY seq": "gateway_id=? AND state=?",
    "SELECT 1 FROM events WHERE tenant_id='t' AND cluster_name='c' AND position > 5 ORDER BY position": "position>?",
    "SELECT * FROM machines WHERE tenant_id='t' AND project_id='p'": "tenant_id=? AND project_id=?",
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_asked_at_each_bell_is_answered_from_an_index(store: Store, question: str) -> None:
    async with store.reading_unscoped("the plan of a query concerns no tenant") as every:
        plan = " ".join(str(row) for row in (await every.run(text(f"EXPLAIN QUERY PLAN {question}"))).all())

    assert QUESTIONS[question] in plan
    assert "TEMP B-TREE" not in plan


async def test_a_bell_that_rings_for_nothing_bothers_no_writer(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance = await paired_appliance(console)
    read = asyncio.Event()
    writing, reading = Store.writing, Store.reading
    written = 0

    def counted(store: Store, scope: Scope) -> AbstractAsyncContextManager[Within]:
        nonlocal written
        written += 1
        return writing(store, scope)

    def noticed(store: Store, scope: Scope) -> AbstractAsyncContextManager[Within]:
        read.set()
        return reading(store, scope)

    async with appliance.connected() as line:
        await line.settle()
        monkeypatch.setattr(Store, "writing", counted)
        monkeypatch.setattr(Store, "reading", noticed)
        await line.say(Accepted(command_id=uuid4()))
        async with asyncio.timeout(10):
            await read.wait()
        await line.settle()

    assert written == 2, "the answer and the report are written, and nothing else"
