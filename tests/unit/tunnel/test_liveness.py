"""This file is the promises of the watch over a silent peer."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel.liveness import Look, Pulse

QUIET, DEAD = 15.0, 45.0


def pulse(heard_at: float = 0.0) -> Pulse:
    return Pulse(QUIET, DEAD, heard_at)


def test_a_peer_is_asked_once_it_is_quiet_and_given_up_when_it_stays_so() -> None:
    peer = pulse()
    assert peer.look(14.9) is Look.ALIVE
    assert peer.look(15.0) is Look.ASK
    peer.asked(15.0)
    assert peer.next_look == 45.0
    assert peer.look(44.9) is Look.ALIVE
    assert peer.look(45.0) is Look.DEAD


def test_any_byte_begins_the_watch_anew() -> None:
    peer = pulse()
    peer.asked(15.0)
    peer.heard(44.0)
    assert peer.look(45.0) is Look.ALIVE
    assert peer.next_look == 59.0
    assert peer.look(59.0) is Look.ASK


def test_who_was_never_asked_is_not_given_up() -> None:
    """We were busy ourselves for minutes, and did not look."""
    peer = pulse()
    assert peer.look(300.0) is Look.ASK
    peer.asked(300.0)
    assert peer.look(314.9) is Look.ALIVE
    assert peer.look(315.0) is Look.DEAD


@given(times=st.lists(st.floats(0, 1000), min_size=1, max_size=30))
def test_a_peer_that_is_looked_at_in_time_is_given_up_exactly_when_it_was_silent_for_that_long(
    times: list[float],
) -> None:
    """Simulated: bytes come at these times and then never again; we look when the watch says so."""
    arrivals = sorted(times)
    peer, now, last = pulse(arrivals[0]), arrivals[0], arrivals[0]
    for _ in range(1000):
        now = peer.next_look
        for one in arrivals:
            if one <= now:
                peer.heard(one)
                last = max(last, one)
        found = peer.look(now)
        if found is Look.DEAD:
            break
        if found is Look.ASK:
            peer.asked(now)
    assert found is Look.DEAD
    assert now - last == DEAD or abs(now - last - DEAD) < 1e-9
