"""This file is the verdicts on a gateway, each row of their table."""

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console import standing
from gateway.console.records import Standing
from gateway.console.standing import Admission, Finding, Join, Joined, JoinProof, Known, Said, Shown
from gateway.contract.messages import LATEST_EPOCH

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SHOWN = Shown(serial=7, until=NOW + timedelta(days=1), current=7, next=8, spent_at=None)
BEFORE, KEY = b"before", b"the key"
REQUEST, OTHER = b"request", b"another request"
MESSAGE = b"message"
KNOWN = Joined(number=5, key=KEY, key_before=BEFORE, request=REQUEST)


def proof(number: int, key: bytes, request: bytes = OTHER) -> JoinProof:
    said = hmac.new(key, MESSAGE, hashlib.sha256).hexdigest()
    return JoinProof(number=number, proof=said, message=MESSAGE, request=request)


@pytest.mark.parametrize(
    ("shown", "verdict"),
    [
        (SHOWN, Admission.TAKE),
        (replace(SHOWN, serial=8), Admission.PROMOTE),
        (replace(SHOWN, serial=6, spent_at=NOW - timedelta(seconds=60)), Admission.COME_AGAIN),
        (replace(SHOWN, serial=6, spent_at=NOW - timedelta(seconds=61)), Admission.OLD),
        (replace(SHOWN, serial=6), Admission.UNKNOWN),
        (replace(SHOWN, until=NOW), Admission.OVER),
    ],
)
def test_a_connection_is_judged_by_the_serial_it_shows(shown: Shown, verdict: Admission) -> None:
    assert standing.admission(Standing.ACTIVE, shown, now=NOW) is verdict


@pytest.mark.parametrize("standing_", [Standing.ACTIVE, Standing.UNCONFIRMED, Standing.PAUSED])
def test_who_is_only_held_back_may_connect(standing_: Standing) -> None:
    assert standing.admission(standing_, SHOWN, now=NOW) is Admission.TAKE


@given(serial=st.integers(5, 9), spent=st.booleans(), hours=st.integers(-48, 48))
def test_who_is_shut_out_is_refused_whatever_it_shows(serial: int, spent: bool, hours: int) -> None:
    shown = Shown(serial, NOW + timedelta(hours=hours), 7, 8, NOW if spent else None)

    assert standing.admission(Standing.REVOKED, shown, now=NOW) is Admission.REVOKED
    assert standing.admission(Standing.QUARANTINED, shown, now=NOW) is Admission.QUARANTINED


@pytest.mark.parametrize(
    ("shown", "verdict"),
    [
        (proof(5, KEY), Join.NEXT),
        (proof(4, BEFORE, REQUEST), Join.SAME_ANSWER),
        (proof(4, BEFORE), Join.FORKED),
        (proof(3, b"long forgotten"), Join.FORKED),
        (proof(5, BEFORE), Join.WRONG),
        (proof(5, b"guessed", REQUEST), Join.WRONG),
        (proof(4, b"guessed"), Join.WRONG),
        (proof(4, b"guessed", REQUEST), Join.WRONG),
        (proof(6, KEY), Join.AHEAD),
    ],
)
def test_a_join_proof_is_taken_once(shown: JoinProof, verdict: Join) -> None:
    assert standing.join(KNOWN, shown) is verdict


WRONG = [proof(3, b"x"), proof(5, b"x"), proof(9, b"x")]


@pytest.mark.parametrize("shown", WRONG)
def test_a_join_proof_that_was_waived_is_not_asked_for_of_who_shows_the_device_key(shown: JoinProof) -> None:
    assert standing.join(replace(KNOWN, waived=True), replace(shown, by_device=True)) is Join.WAIVED


@pytest.mark.attack(6)
@pytest.mark.parametrize("shown", WRONG)
def test_a_join_proof_that_was_waived_is_not_waived_for_who_has_a_tls_key_alone(shown: JoinProof) -> None:
    assert standing.join(replace(KNOWN, waived=True), shown) is Join.RECOVER


def test_a_proof_that_holds_is_taken_as_one_also_where_none_is_asked_for() -> None:
    assert standing.join(replace(KNOWN, waived=True), proof(5, KEY)) is Join.NEXT


def test_the_answer_that_was_given_without_a_proof_is_given_again_for_the_same_request() -> None:
    after = replace(KNOWN, number=10, key_before=None)

    assert standing.join(after, proof(3, b"x", REQUEST)) is Join.SAME_ANSWER
    assert standing.join(after, proof(12, b"x", REQUEST)) is Join.SAME_ANSWER
    assert standing.join(after, proof(3, b"x", OTHER)) is Join.FORKED


A, B = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("known", "said", "found"),
    [
        (Known(9, 1, A), Said(10, 1, A), set()),
        (Known(0, 1, None), Said(1, 1, A), set()),
        (Known(9, 1, A), Said(10, 1, None), set()),
        (Known(9, 1, A), Said(9, 1, A), {Finding.ROLLED_BACK}),
        (Known(9, 2, A), Said(99, 1, A), {Finding.ROLLED_BACK}),
        (Known(9, 1, A), Said(10, 1, B), {Finding.HARDWARE_CHANGED}),
        (Known(9, 1, A), Said(4, 1, B), {Finding.HARDWARE_CHANGED, Finding.ROLLED_BACK}),
    ],
)
def test_a_hello_tells_what_is_the_matter(known: Known, said: Said, found: set[Finding]) -> None:
    assert standing.findings(known, said) == found


@pytest.mark.parametrize(("known", "said", "epoch"), [(1, 1, 2), (2, 1, 2), (1, 3, 4), (1, LATEST_EPOCH, LATEST_EPOCH)])
def test_an_epoch_that_was_not_heard_of_is_not_counted_twice(known: int, said: int, epoch: int) -> None:
    assert standing.next_epoch(Known(9, known, None), Said(1, said, None)) == epoch


def test_the_budget_is_as_many_recoveries_as_it_says() -> None:
    assert [standing.within_budget(count, 2) for count in range(4)] == [True, True, False, False]
