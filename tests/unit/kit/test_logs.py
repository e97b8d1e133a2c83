"""This file is the promises of logs: one JSON object a line, and no secret in it. The process that logs is real."""

import json
import subprocess
import sys
from typing import Any

import pytest

from gateway.kit import logs

SCRIPT = r"""
import logging, pathlib, structlog
from gateway.kit import logs

logs.configure(program="tester")
token = "pcg" + "reg1_AbC-dEf_gh12_x7"
key = "pcg" + "key1_AbCdEf"
pem = "-----BEGIN " + "EC PRIVATE KEY-----\nQUJD\n-----END EC PRIVATE KEY-----"
log = structlog.get_logger("a")


class Thing:
    def __repr__(self):
        return f"Thing({token})"


log.info("plain", nothing="to hide", count=3, truth=True, empty=None)
log.info(f"in the event {token}")
log.info("field", one=f"a {token} b", two=key, three=pem)
log.info("nested", what={"a": [{"b": (token, {"c": pem})}]})
log.info("key of a mapping", what={token: 1})
log.info("object", what=Thing(), path=pathlib.Path("/tmp") / key, raw=token.encode(), several={token})
log.info("error as a field", error=ValueError(token))
log.bind(bound=token).info("bound")
with structlog.contextvars.bound_contextvars(context=token):
    log.info("context")
logging.getLogger("library").warning("library says %s", token)
for logger in (log, logging.getLogger("library")):
    try:
        raise ValueError(f"at {token} and {pem}")
    except ValueError:
        logger.exception("raised")
log.debug("debug is not asked for")
log.info("unfinished key", three="-----BEGIN " + "PRIVATE KEY-----\nQUJD")
"""


HOSTILE = "vm\r\n{}\x1b[2J\x1b]52;c;AAAA\x07\x00\x7f\x9b31m\u202egpj\u2066\u2028"


@pytest.mark.attack(23)
def test_no_name_and_no_error_begins_a_line_or_moves_a_cursor() -> None:
    script = f"""
import logging, structlog
from gateway.kit import logs
logs.configure(program="tester")
text = {HOSTILE!a}
structlog.get_logger("a").info(text, **{{text: text}}, nested=[{{text: text}}], raw=text.encode())
logging.getLogger("library").warning("library says %s", text)
try:
    raise ValueError(text)
except ValueError:
    structlog.get_logger("a").exception(text)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    lines = done.stderr.split("\n")
    assert len(lines) == 4
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert json.loads(lines[0])["event"] == HOSTILE


@pytest.fixture(scope="module")
def written() -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def lines(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]


def test_every_line_is_one_object_with_time_level_program_and_event(lines: list[dict[str, Any]]) -> None:
    assert len(lines) == 13
    for line in lines:
        assert {"timestamp", "level", "program", "event"} <= line.keys()
        assert line["program"] == "tester"


def test_what_is_no_secret_is_written_as_it_is(lines: list[dict[str, Any]]) -> None:
    plain = next(line for line in lines if line["event"] == "plain")
    assert (plain["nothing"], plain["count"], plain["truth"], plain["empty"]) == ("to hide", 3, True, None)


@pytest.mark.parametrize("secret", ["AbC-dEf", "AbCdEf", "QUJD"])
def test_no_secret_is_in_any_line_wherever_it_stood(written: str, secret: str) -> None:
    assert [line for line in written.splitlines() if secret in line] == []


def test_what_stood_around_a_secret_stays(lines: list[dict[str, Any]]) -> None:
    field = next(line for line in lines if line["event"] == "field")
    assert (field["one"], field["two"], field["three"]) == ("a [secret] b", "[secret]", "[secret]")


def test_an_error_is_written_with_where_it_came_from(lines: list[dict[str, Any]]) -> None:
    raised = [line for line in lines if line["event"] == "raised"]
    assert len(raised) == 2
    assert all("Traceback" in line["exception"] for line in raised)


def test_text_after_a_private_key_is_kept() -> None:
    text = "a -----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\nb"
    assert logs.without_secrets(text) == "a [secret]\nb"
