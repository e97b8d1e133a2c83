"""This file is the promises of who signs the audit log: daily, at rotation and at the end, in the log and beside it."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.appliance import notary
from gateway.audit import judging, roots
from gateway.identity.devicekeys import FileDeviceKey, new
from gateway.kit import supervise
from gateway.kit.errors import GatewayError
from tests.fakes.clock import HandClock
from tests.unit.audit.logs import NAME, a_log, a_notary, an_act, entries

DAY = 86400.0


@pytest.fixture(autouse=True)
def _uncached_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    import structlog  # noqa: PLC0415

    monkeypatch.setattr(notary, "log", structlog.get_logger("notary"))


@pytest.fixture
def key() -> FileDeviceKey:
    return new()


def test_a_root_is_a_line_of_the_log_and_kept_beside_it(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path, 3)
    root = a_notary(log, key).sign("day")
    assert root is not None
    assert (root.number, root.log, root.public_pem) == (3, NAME, key.public_pem)
    assert roots.is_signed(root)
    assert log.roots() == [root]
    assert roots.of(entries(log)[3]) == root
    assert judging.judge(log.lines, log.roots(), only=(key.public_pem,)).proven == 3


def test_it_is_signed_once_a_day(tmp_path: Path, key: FileDeviceKey) -> None:
    clock = HandClock()
    log = a_log(tmp_path, 1)
    signs = a_notary(log, key, clock)
    for _ in range(3):
        signs.look()
    clock.seconds += DAY
    signs.look()
    assert [(root.why, root.at[:10]) for root in log.roots()] == [("day", "2026-11-21"), ("day", "2026-11-22")]


def test_what_day_it_is_the_console_says(tmp_path: Path, key: FileDeviceKey) -> None:
    clock = HandClock()
    log = a_log(tmp_path, 1)
    signs = a_notary(log, key, clock)
    signs.look()
    wrong = clock.now().replace(year=2031)
    signs.time.heard(wrong, asked=clock.monotonic())
    signs.look()
    assert [root.at[:4] for root in log.roots()] == ["2026", "2031"]


def test_it_is_signed_when_a_file_was_closed(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path, 1, segment=2000)
    signs = a_notary(log, key)
    signs.look()
    log.append([an_act(number) for number in range(10)])
    log.append([an_act(11)])  # which begins the next file
    signs.look()
    signs.look()
    assert [root.why for root in log.roots()] == ["day", "rotation"]


async def test_it_is_signed_at_the_end_unless_nothing_was_written_since(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path, 1)
    signs = a_notary(log, key)
    await signs.stop()
    await signs.stop()
    assert [(root.why, root.number) for root in log.roots()] == [("stop", 1)]


async def test_an_empty_log_is_not_signed(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path)
    await a_notary(log, key).stop()
    assert (log.roots(), entries(log)) == ([], [])


def test_a_line_that_a_cut_has_torn_does_not_make_a_root_look_wrong(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path, 2)
    with (tmp_path / "audit.log").open("ab") as file:
        file.write(b'{"action":"stream.op')
    root = a_notary(log, key).sign("day")
    assert root is not None
    found = judging.judge(log.lines, log.roots())
    assert (found.broken, found.chain.torn, found.proven) == (None, 1, root.number)


def test_roots_outlive_the_lines_they_speak_of(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path, segment=500)
    signs = a_notary(log, key)
    for number in range(60):
        log.append([an_act(number)])
        if number % 10 == 0:
            signs.sign("day")
    found = judging.judge(log.lines, log.roots(), only=(key.public_pem,))
    assert found.broken is None
    assert found.older > 0


async def test_a_key_that_does_not_answer_is_told_once_and_tried_again(tmp_path: Path, key: FileDeviceKey) -> None:
    log = a_log(tmp_path, 1)
    clock = HandClock()
    asked = 0

    def signer() -> tuple[str, FileDeviceKey]:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise GatewayError("the TPM is away")
        return NAME, key

    signs = notary.Notary(log, signer, clock=clock)
    with capture_logs() as lines:
        async with supervise.running(notary=signs.run()):
            while not log.roots() or len(lines) < 2:  # the root is on the disk a moment before it is said
                await clock.sleep(0)
    assert [one["event"] for one in lines] == ["audit log is not signed, will be tried again", "audit log signed"]
