"""This file is the promises of an authority that is rotated: nobody who has heard of each step notices any."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.identity import authority, certificates, keys, rotation, succession
from gateway.identity.authority import Authority, AuthorityDamagedError, Issued
from gateway.identity.certificates import LEAF_LIFE
from gateway.identity.rotation import NOTICED, Phase, RotationOutOfTurnError, State
from gateway.identity.vault import RootKeyAwayError

NOW = datetime.now(UTC)  # noqa: TID251 - openssl below uses the machine's clock

Step = Callable[[Authority], None]
STEPS: dict[str, Step] = {
    "intermediate": lambda ours: ours.renew_intermediate(now=NOW),
    "hand on": lambda ours: ours.hand_on(now=NOW),
    "promote": lambda ours: ours.promote(now=NOW),
    "retire": lambda ours: ours.retire(),
}
ROTATION = ("hand on", "promote", "retire")


def signed(ours: Authority) -> Issued:
    return ours.sign_gateway(authority.certificate_request(keys.new_key()), uuid4(), now=NOW)


def der(issued: Issued) -> bytes:
    return x509.load_pem_x509_certificate(issued.pem.encode()).public_bytes(serialization.Encoding.DER)


def accepted(issued: Issued, trust: list[str], directory: Path) -> bool:
    """Ask openssl, at its strictest, whether a certificate is good for who trusts these roots."""
    (directory / "leaf.pem").write_text(issued.pem)
    (directory / "trust.pem").write_text("".join(trust))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "trust.pem", "-untrusted", "leaf.pem", "leaf.pem"]
    return subprocess.run(command, check=False, cwd=directory, capture_output=True).returncode == 0


def test_who_keeps_the_bundle_of_one_step_ago_is_understood_and_understands(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    for name in (*ROTATION, "intermediate", *ROTATION):
        former, former_bundle = signed(ours), ours.trust
        STEPS[name](ours)
        assert accepted(signed(ours), former_bundle.roots, tmp_path), f"{name}: the former bundle knows who signs now"
        if name != "retire":
            assert accepted(former, ours.trust.roots, tmp_path), f"{name}: what was signed before is still good"
            assert ours.vouches_for(der(former))
        else:
            assert former_bundle.version == ours.trust.version - 1


def test_what_the_former_root_has_signed_is_worth_nothing_once_it_is_retired(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    before = signed(ours)
    for name in ROTATION:
        STEPS[name](ours)
    assert not accepted(before, ours.trust.roots, tmp_path)
    assert not ours.vouches_for(der(before))
    assert ours.vouches_for(der(signed(ours)))


def test_who_has_missed_several_rotations_comes_back_by_the_successions(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    asleep = ours.trust.roots
    for name in ROTATION * 3:
        STEPS[name](ours)
        assert succession.follow(asleep, ours.successions).roots[0] == ours.root


def test_successions_of_a_hundred_rotations_stay_within_what_may_be_sent(tmp_path: Path) -> None:
    state = State(current="a", intermediates=("b",))
    ours = Authority.open(tmp_path / "ca", now=NOW)
    ours.hand_on(now=NOW)
    (step,) = ours.successions.steps
    for _ in range(100):
        state = rotation.retired(rotation.promoted(rotation.handed_on(state, "x", step), "y", now=NOW))
    assert len(state.steps) == 64


def test_each_step_has_its_turn(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    for phase, name in zip(Phase, ROTATION, strict=True):
        assert ours.state.phase is phase
        for other in set(ROTATION) - {name}:
            files = sorted((tmp_path / "ca").iterdir())
            with pytest.raises(RotationOutOfTurnError):
                STEPS[other](ours)
            assert sorted((tmp_path / "ca").iterdir()) == files, "a step that is refused leaves nothing"
        STEPS[name](ours)
    assert ours.state.phase is Phase.STEADY


def test_tokens_carry_the_pin_of_the_next_root_before_it_signs(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    old = ours.pins
    ours.hand_on(now=NOW)
    both = ours.pins
    ours.promote(now=NOW)
    assert (old, ours.pins) == (both[:1], both[1:])


def test_the_key_of_a_root_that_was_followed_is_destroyed(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    former = set((tmp_path / "ca").glob("root-*.key"))
    ours.hand_on(now=NOW)
    ours.promote(now=NOW)
    present = set((tmp_path / "ca").glob("*.key"))
    assert len(present) == 2
    assert not present & former


def test_an_authority_without_its_root_key_signs_and_says_what_a_rotation_needs(tmp_path: Path) -> None:
    Authority.open(tmp_path / "ca", now=NOW)
    (key,) = (tmp_path / "ca").glob("root-*.key")
    away = key.rename(tmp_path / "safe.key")
    ours = Authority.open(tmp_path / "ca", now=NOW)
    assert accepted(signed(ours), ours.trust.roots, tmp_path)
    for step in (STEPS["intermediate"], STEPS["hand on"]):
        with pytest.raises(RootKeyAwayError):
            step(ours)
    away.rename(key)
    ours.hand_on(now=NOW)


def test_an_authority_that_lost_anything_else_is_not_made_anew(tmp_path: Path) -> None:
    for pattern in ("authority.json", "intermediate-*.key", "intermediate-*.pem", "root-*.pem"):
        shutil.rmtree(tmp_path / "ca", ignore_errors=True)
        Authority.open(tmp_path / "ca", now=NOW)
        (lost,) = (tmp_path / "ca").glob(pattern)
        lost.unlink()
        with pytest.raises(AuthorityDamagedError):
            Authority.open(tmp_path / "ca", now=NOW)


def test_a_rotation_by_another_process_is_seen(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    other = Authority.open(tmp_path / "ca", now=NOW)
    assert not ours.reload()
    other.hand_on(now=NOW)
    assert ours.reload()
    assert ours.trust == other.trust
    assert not ours.reload()


def test_two_who_rotate_at_once_take_turns(tmp_path: Path) -> None:
    """Nothing that one has written is lost to the other, and nothing is swept away half made."""
    ours = Authority.open(tmp_path / "ca", now=NOW)
    with ThreadPoolExecutor(max_workers=2) as both:
        each = [Authority.open(tmp_path / "ca", now=NOW) for _ in range(8)]
        for done in [both.submit(one.renew_intermediate, now=NOW) for one in each]:
            done.result(timeout=60)
    assert ours.reload()
    assert len(ours.state.intermediates) == 9
    assert accepted(signed(ours), ours.trust.roots, tmp_path)


def test_intermediates_whose_certificates_have_all_ended_are_forgotten(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    for years in range(8):
        ours.renew_intermediate(now=NOW + timedelta(days=366 * years))
    assert len(ours.state.intermediates) <= 3
    assert len(list((tmp_path / "ca").glob("intermediate-*.pem"))) == len(ours.state.intermediates)


def cut(step: Callable[[], object], at: int) -> bool:
    """Take a step in a process of its own that dies before its `at`-th change of a file; tell whether it did."""
    child = os.fork()
    if child == 0:
        left = at

        def die(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_WRONLY)
            if writes or event in {"os.rename", "os.remove"}:
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(die)
        try:
            step()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("name", ["intermediate", *ROTATION])
def test_a_step_that_is_cut_anywhere_leaves_the_authority_as_before_or_as_after(tmp_path: Path, name: str) -> None:
    origin = tmp_path / "origin"
    start = Authority.open(origin, now=NOW)
    for earlier in ROTATION[: ROTATION.index(name)] if name in ROTATION else ():
        STEPS[earlier](start)
    before, cuts = start.state, 0
    while True:
        directory = tmp_path / f"cut-{cuts}"
        shutil.copytree(origin, directory)
        ours = Authority.open(directory, now=NOW)
        if not cut(partial(STEPS[name], ours), cuts + 1):
            break
        cuts += 1
        found = Authority.open(directory, now=NOW)
        named = {f"{one}.pem" for one in (*found.state.roots, *found.state.intermediates)}
        assert {path.name for path in directory.glob("*-*.pem")} == named, "rubbish is swept out"
        assert (directory / "authority.pem").read_text() == found.root
        assert accepted(signed(found), start.trust.roots, tmp_path), "appliances understand either"
        if found.state == before:
            STEPS[name](found)
        assert found.state.phase is (before.phase if name == "intermediate" else _after(before.phase))
    assert cuts >= 3, "there was something to cut"


def _after(phase: Phase) -> Phase:
    return {Phase.STEADY: Phase.HANDED_ON, Phase.HANDED_ON: Phase.SETTLING, Phase.SETTLING: Phase.STEADY}[phase]


def test_an_authority_whose_making_was_cut_anywhere_is_made_or_whole(tmp_path: Path) -> None:
    cuts = 0
    while cut(partial(Authority.open, tmp_path / f"cut-{cuts}", now=NOW), cuts + 1):
        ours = Authority.open(tmp_path / f"cut-{cuts}", now=NOW)
        assert accepted(signed(ours), ours.trust.roots, tmp_path)
        assert len(list((tmp_path / f"cut-{cuts}").glob("*.key"))) == 2
        cuts += 1
    assert cuts >= 5, "there was something to cut"


ages = st.timedeltas(min_value=timedelta(days=-20), max_value=timedelta(days=20))


@given(version=st.integers(min_value=0, max_value=5), until=ages, now=ages)
@example(version=3, until=LEAF_LIFE + timedelta(seconds=2), now=timedelta(minutes=1))
def test_the_next_step_waits_for_exactly_those_whom_it_would_leave_behind(
    version: int, until: timedelta, now: timedelta
) -> None:
    handed_on = State(current="a", other="b", phase=Phase.HANDED_ON, version=3, known_since=3, intermediates=("i",))
    settling = rotation.promoted(handed_on, "j", now=NOW)
    times = {"certificate_until": NOW + until, "now": NOW + now}
    steady = State(current="a", intermediates=("i",))
    assert not rotation.waits_for(steady, trust_version=version, **times)
    assert rotation.waits_for(handed_on, trust_version=version, **times) == (version < 3)
    # The running console signs with the former intermediate until it has noticed.
    lives_below_the_former = now < until <= LEAF_LIFE + NOTICED
    left_behind = version < 3 or lives_below_the_former
    assert rotation.waits_for(settling, trust_version=version, **times) == left_behind
    retired = rotation.retired(settling)
    assert rotation.waits_for(retired, trust_version=version, **times) == left_behind


def test_a_second_rotation_keeps_the_key_of_the_root_that_it_hands_on(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    for name in (*ROTATION, "hand on", "intermediate", "promote"):
        STEPS[name](ours)
    assert ours.has_root_key


def test_lives_are_as_promised_and_nothing_outlives_its_signer(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ca", now=NOW)
    root, intermediate = ours.chain
    own = ours.sign_server(keys.new_key().public_key(), ["console.example"], now=NOW)
    moments = (root.not_valid_after_utc, intermediate.not_valid_after_utc, own.not_after, signed(ours).not_after)
    assert [round((moment - NOW) / timedelta(days=1)) for moment in moments] == [3650, 730, 30, 7]
    late = NOW + timedelta(days=728)
    assert ours.sign_server(keys.new_key().public_key(), ["x"], now=late).not_after == intermediate.not_valid_after_utc
    assert certificates.past_half(intermediate, NOW + timedelta(days=366))
    assert not certificates.past_half(intermediate, NOW + timedelta(days=364))
