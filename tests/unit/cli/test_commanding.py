"""This file is the promises of `pcg command` about what it prints."""

from uuid import uuid4

import pytest

from gateway.cli import commanding
from gateway.console.api.models import CommandView
from gateway.console.records import CommandState
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.wishes import WHEN


@pytest.mark.attack(23)
@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]52;c;AAAA\x07", "a\r\nsucceeded", "\u202eexe", "\x00", "\x9b2J"])
def test_why_a_command_failed_moves_no_cursor(text: str) -> None:
    view = CommandView.model_construct(
        id=uuid4(),
        kind="cluster.apply",
        state=CommandState.FAILED,
        gateway="dc1",
        created_at=WHEN,
        problem=Problem(code="a.b", message=f"vm {text}", remedy=Remedy.OPERATOR),
    )
    first, second = commanding._words(view).plain.split("\n")
    assert first.isprintable()
    assert second.isprintable()
