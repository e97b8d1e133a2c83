"""This file is the promises of the audit log: nothing in it changes unseen, and nothing cuts it short for good."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.appliance import audit
from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.audit import lines as auditlines
from gateway.audit.lines import Act, End, parsed
from tests.fakes.clock import HandClock

WRITER = """
import sys
from pathlib import Path
from gateway.appliance.audit import AuditLog
from gateway.audit.lines import Act
from gateway.kit.clock import SystemClock
log = AuditLog(Path(sys.argv[1]), clock=SystemClock(), segment=2_000_000)
for number in range(int(sys.argv[2])):
    log.append([Act("stream.opened", "ok", {"writer": sys.argv[3], "number": number})] * 3)
    print(number, flush=True)
"""


def a_log(state: Path, *, segment: int = audit.SEGMENT) -> AuditLog:
    return AuditLog(state, clock=HandClock(), segment=segment)


def an_act(number: int = 0) -> Act:
    return Act("stream.opened", "ok", {"user": "ada", "number": number})


def written(state: Path, count: int) -> AuditLog:
    log = a_log(state)
    log.append([an_act(number) for number in range(count)])
    return log


def chain(count: int) -> list[bytes]:
    return auditlines.chained(End(), [an_act(number) for number in range(count)], at="now").splitlines()


def broken(lines: list[bytes]) -> str | None:
    return auditlines.verify((f"line {place}", line) for place, line in enumerate(lines, 1)).broken


def acts(log: AuditLog) -> list[str]:
    return [entry.act.action for _, line in log.lines() if (entry := parsed(line))]


def test_what_is_written_is_read_back_in_a_private_file(tmp_path: Path) -> None:
    log = written(tmp_path, 3)
    entries = [parsed(line) for _, line in log.lines()]
    assert [entry.number for entry in entries if entry] == [1, 2, 3]
    assert [entry.act for entry in entries if entry] == [an_act(number) for number in range(3)]
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_a_whole_chain_holds(tmp_path: Path) -> None:
    verdict = written(tmp_path, 5).verify()
    assert (verdict.entries, verdict.first, verdict.last, verdict.torn, verdict.broken) == (5, 1, 5, 0, None)
    assert verdict.head == auditlines.digest((tmp_path / "audit.log").read_bytes().splitlines()[-1])


@given(st.data())
def test_a_changed_letter_breaks_the_chain(data: st.DataObject) -> None:
    lines = chain(5)
    number = data.draw(st.integers(0, 3))
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    letter = data.draw(st.integers(32, 126))
    changed = lines[number][:place] + bytes([letter]) + lines[number][place + 1 :]
    if changed != lines[number]:
        lines[number] = changed
        assert broken(lines)


@given(st.integers(0, 3))
def test_a_removed_or_doubled_line_breaks_the_chain(number: int) -> None:
    lines = chain(6)
    assert broken([*lines[: number + 1], *lines[number + 2 :]])
    assert broken([*lines[: number + 1], *lines[number:]])


@given(st.permutations(range(5)))
def test_no_other_order_holds(order: list[int]) -> None:
    lines = chain(5)
    assert (broken([lines[place] for place in order]) is None) == (order == sorted(order))


def test_a_changed_line_cannot_pass_for_a_torn_one() -> None:
    lines = chain(3)
    lines[1] = b'{"action":"stream.ope'
    assert broken(lines)


def test_a_damaged_last_line_is_told() -> None:
    lines = [*chain(2), b"junk"]
    verdict = auditlines.verify((str(place), line) for place, line in enumerate(lines))
    assert (verdict.broken, verdict.torn) == (None, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 600))
def test_a_line_torn_anywhere_is_noted_and_the_chain_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.log"
    path.unlink(missing_ok=True)
    log = written(tmp_path, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, len(whole) - cut)])
    left = path.read_bytes()
    log.append([an_act(9)])
    verdict = log.verify()
    assert path.read_bytes().startswith(left)
    assert verdict.broken is None
    assert acts(log)[-1] == "stream.opened"
    assert verdict.torn == acts(log).count(auditlines.TORN)


def test_a_tail_of_zeros_as_some_file_systems_leave_is_a_torn_line(tmp_path: Path) -> None:
    log = written(tmp_path, 3)
    with (tmp_path / "audit.log").open("ab") as file:
        file.write(bytes(audit.TAIL + 10))
    log.append([an_act()])
    verdict = log.verify()
    assert (verdict.broken, verdict.torn, verdict.last) == (None, 1, 5)


def test_the_chain_goes_on_from_file_to_file(tmp_path: Path) -> None:
    log = a_log(tmp_path, segment=1000)
    for number in range(30):
        log.append([an_act(number)])
    assert len(list(tmp_path.glob("audit.log*"))) > 3
    assert [entry.number for _, line in log.lines() if (entry := parsed(line))] == list(range(1, 31))
    assert log.verify().broken is None


def test_a_cut_between_the_two_steps_of_a_rotation_costs_nothing(tmp_path: Path) -> None:
    log = written(tmp_path, 3)
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.000001")
    log.append([an_act()])
    assert (log.verify().broken, log.verify().last) == (None, 4)


def test_a_file_missing_in_the_middle_is_noticed(tmp_path: Path) -> None:
    log = a_log(tmp_path, segment=500)
    for number in range(12):
        log.append([an_act(number)])
    (tmp_path / "audit.log.000002").unlink()
    assert log.verify().broken


@pytest.mark.parametrize(
    "name", ["audit.log.1", "audit.log.1.gz", "audit.log.000001.bak", "audit.log.0000001", "audit.log.old"]
)
def test_a_file_that_others_put_beside_the_log_neither_stops_it_nor_is_eaten(tmp_path: Path, name: str) -> None:
    log = a_log(tmp_path, segment=300)
    for number in range(8):
        log.append([an_act(number)])
    (tmp_path / name).write_bytes((tmp_path / "audit.log.000001").read_bytes())
    before = (tmp_path / name).read_bytes()
    for number in range(audit.KEPT * 3):
        log.append([an_act(number)])
    assert (tmp_path / name).read_bytes() == before
    assert (log.verify().last, log.verify().broken) == (8 + audit.KEPT * 3, None)


def test_no_file_is_renamed_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = a_log(tmp_path, segment=1)
    log.append([an_act()])
    (tmp_path / "audit.log.000001").write_bytes(b"appeared after the directory was read")
    monkeypatch.setattr(AuditLog, "_older", lambda _: [])
    with pytest.raises(AuditNotWrittenError, match="there already"):
        log.append([an_act()])
    assert (tmp_path / "audit.log.000001").read_bytes() == b"appeared after the directory was read"


def test_the_oldest_files_go_and_the_verdict_says_where_the_log_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEPT", 3)
    log = a_log(tmp_path, segment=1)
    for number in range(10):
        log.append([an_act(number)])
    assert len(list(tmp_path.glob("audit.log.*"))) == 3
    assert (log.verify().first, log.verify().last, log.verify().broken) == (7, 10, None)


def test_a_full_disk_is_an_error_and_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, 2)
    before = (tmp_path / "audit.log").read_bytes()
    real = os.write

    def half(handle: int, content: bytes | memoryview) -> int:
        size = len(memoryview(content))
        if size < 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, memoryview(content)[: size // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(AuditNotWrittenError, match="No space") as full:
            log.append([an_act()])
    assert full.value.code == "audit.not_written"
    assert (tmp_path / "audit.log").read_bytes() == before
    log.append([an_act()])
    assert (log.verify().last, log.verify().broken) == (3, None)


@pytest.mark.attack(23)
@given(st.text(max_size=400))
def test_no_text_from_elsewhere_can_begin_a_line_or_move_a_cursor(text: str) -> None:
    content = auditlines.chained(End(), [Act("stream.refused", "refused", {"why": text})], at="now")
    assert content.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in content[:-1])


def test_no_secret_of_ours_gets_into_the_log() -> None:
    content = auditlines.chained(End(), [Act("a", "ok", {"why": "pcgkey1_abcdef"})], at="now")
    assert b"abcdef" not in content


def test_a_link_in_the_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditNotWrittenError):
        a_log(tmp_path).append([an_act()])


def test_two_programs_that_write_at_a_time_and_one_that_is_killed_leave_one_chain(tmp_path: Path) -> None:
    def writer(name: str, count: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(count), name], stdout=subprocess.PIPE)

    with writer("killed", 1_000_000) as killed, writer("other", 200) as other:
        assert killed.stdout
        assert other.stdout
        other.stdout.readline()
        for _ in range(100):
            last = int(killed.stdout.readline())
        killed.send_signal(signal.SIGKILL)
        other.stdout.read()
        assert other.wait(60) == 0
        last = max([last, *(int(line) for line in killed.stdout.read().split())])
    log = a_log(tmp_path, segment=2_000_000)
    log.append([an_act()])
    entries = [entry.act.facts for _, line in log.lines() if (entry := parsed(line))]
    assert log.verify().broken is None
    assert sum(facts.get("writer") == "other" for facts in entries) == 600
    assert sum(facts.get("writer") == "killed" for facts in entries) >= 3 * (last + 1)
