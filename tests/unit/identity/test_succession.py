"""This file is the promises of successions: who trusts a former root gets to the present one, and nobody else does."""

import base64
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.trust import Grounds, Succession, Successions, TrustBundle
from gateway.identity import certificates, keys, succession
from gateway.identity.certificates import Signer
from gateway.identity.succession import SuccessionBrokenError

LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
ROOTS = 5


@cache
def root(number: int) -> Signer:
    """One of a few roots, made once. Each is over before the next begins: dates count for nothing here."""
    key = keys.new_key()
    return Signer(certificates.root(key, now=LONG_AGO + timedelta(days=4000 * number)), key)


def pem(number: int) -> str:
    return certificates.pem(root(number).certificate)


@cache
def step(first: int, then: int) -> Succession:
    return succession.hand_on(root(first), root(then).certificate)


def said(*steps: Succession, offered: tuple[int, ...], version: int = 7) -> Successions:
    bundle = TrustBundle(version=version, roots=[pem(one) for one in offered])
    return Successions(steps=list(steps), trust=bundle)


CHAIN = [step(one, one + 1) for one in range(ROOTS - 1)]
numbers = st.integers(min_value=0, max_value=ROOTS - 1)


@given(numbers, numbers)
def test_who_trusts_any_former_root_gets_to_any_later_one_and_nobody_gets_back(trusted: int, present: int) -> None:
    successions = said(*CHAIN, offered=(present,))
    if trusted <= present:
        assert succession.follow([pem(trusted)], successions).roots == [pem(present)]
    else:
        with pytest.raises(SuccessionBrokenError):
            succession.follow([pem(trusted)], successions)


@given(
    trusted=st.sets(numbers, min_size=1, max_size=2),
    edges=st.lists(st.tuples(numbers, numbers, st.booleans()), max_size=8),
    offered=st.lists(numbers, min_size=1, max_size=2, unique=True),
)
def test_a_root_is_trusted_only_if_genuine_words_lead_to_it(
    trusted: set[int], edges: list[tuple[int, int, bool]], offered: list[int]
) -> None:
    steps = [step(first, then) if genuine else forged(first, then) for first, then, genuine in edges]
    proven = set(trusted)
    for first, then, genuine in edges:
        if genuine and first in proven:
            proven.add(then)
    successions = said(*steps, offered=tuple(offered))
    if offered[0] in proven:
        found = succession.follow([pem(one) for one in trusted], successions)
        assert found.roots == [pem(one) for one in offered if one in proven]
    else:
        with pytest.raises(SuccessionBrokenError):
            succession.follow([pem(one) for one in trusted], successions)


def forged(first: int, then: int) -> Succession:
    """What somebody writes who has the key of every root but the first: the right words, signed by another."""
    genuine = step(first, then)
    other = succession.hand_on(root((first + 1) % ROOTS), root(then).certificate)
    return genuine.model_copy(update={"signature": other.signature})


@given(st.sampled_from(["signature", "root", "follows"]), st.integers(min_value=0, max_value=10_000))
def test_a_word_of_which_anything_was_changed_says_nothing(part: str, where: int) -> None:
    genuine = step(0, 1)
    changes: dict[str, object] = {"root": pem(2), "follows": certificates.spki_pin(root(2).certificate).hex()}
    signature = bytearray(base64.b64decode(genuine.signature))
    signature[where % len(signature)] ^= 1 << (where % 8)
    changes["signature"] = base64.b64encode(bytes(signature)).decode()
    changed = genuine.model_copy(update={part: changes[part]})
    with pytest.raises(SuccessionBrokenError):
        succession.follow([pem(0)], said(changed, offered=(2 if part == "root" else 1,)))


def test_a_signature_made_for_something_else_is_no_succession() -> None:
    following = root(1).certificate
    encoded = certificates.spki_pin(root(0).certificate) + certificates.spki_pin(following)
    signature = base64.b64encode(keys.sign(root(0).key, encoded)).decode()
    with pytest.raises(SuccessionBrokenError):
        succession.follow([pem(0)], said(step(0, 1).model_copy(update={"signature": signature}), offered=(1,)))


def test_of_the_bundle_only_what_is_proven_is_kept() -> None:
    found = succession.follow([pem(0)], said(step(0, 1), offered=(1, 4)))
    assert found.roots == [pem(1)]


def test_the_version_that_anybody_may_claim_is_not_believed() -> None:
    """Else whoever stands between could claim one so high that no genuine bundle would ever be kept again."""
    assert succession.follow([pem(0)], said(step(0, 1), offered=(1,), version=2**30)).version == 1


def test_without_any_step_what_is_trusted_stays_trusted() -> None:
    assert succession.follow([pem(0), pem(1)], said(offered=(1,))).roots == [pem(1)]


@pytest.mark.parametrize("text", ["", "rubbish", "two"])
def test_what_is_not_one_certificate_is_refused(text: str) -> None:
    shown = pem(1) + pem(2) if text == "two" else text
    with pytest.raises(SuccessionBrokenError):
        succession.follow([pem(0)], said(step(0, 1).model_copy(update={"root": shown}), offered=(1,)))


# -- bundles that a console says


def bundle(*roots: int, version: int) -> TrustBundle:
    return TrustBundle(version=version, roots=[pem(one) for one in roots])


@cache
def shown_below(number: int) -> str:
    """Return what a console shows whose certificate a root has signed, without the root."""
    key, now = keys.new_key(), LONG_AGO + timedelta(days=4000 * number)
    between = Signer(certificates.intermediate(key.public_key(), root(number), now=now), key)
    leaf = certificates.for_server(keys.new_key().public_key(), ["127.0.0.1"], between, now=now)
    return certificates.pem(leaf) + certificates.pem(between.certificate)


def judged(known: TrustBundle, other: TrustBundle, *steps: Succession, shown: int) -> TrustBundle:
    return succession.judged(known, other, grounds=Grounds(steps=list(steps)), shown=shown_below(shown))


@pytest.mark.attack(22)
@given(
    trusted=st.sets(numbers, min_size=1, max_size=2),
    edges=st.lists(st.tuples(numbers, numbers).filter(lambda edge: edge[0] != edge[1]), max_size=6),
    offered=st.lists(numbers, min_size=1, max_size=2, unique=True),
    shown=numbers,
)
def test_a_bundle_is_kept_when_all_of_it_follows_and_the_console_is_one_of_its_own(
    trusted: set[int], edges: list[tuple[int, int]], offered: list[int], shown: int
) -> None:
    reached = set(trusted)
    for first, then in edges:
        if first in reached:
            reached.add(then)
    known, other = bundle(*trusted, version=3), bundle(*offered, version=4)
    kept = judged(known, other, *(step(*edge) for edge in edges), shown=shown)
    assert kept == (other if set(offered) <= reached and shown in offered else known)


def test_what_the_console_shows_may_be_followed_by_its_issuer_elsewhere() -> None:
    leaf, issuer = (
        one + "-----END CERTIFICATE-----\n" for one in shown_below(1).split("-----END CERTIFICATE-----\n")[:2]
    )
    known, other = bundle(0, version=1), bundle(0, 1, version=2)
    for issuers, kept in (([issuer], other), ([], known), (["rubbish", issuer], other), ([pem(1)], known)):
        grounds = Grounds(steps=[step(0, 1)], issuers=issuers)
        assert succession.judged(known, other, grounds=grounds, shown=leaf) == kept


@pytest.mark.attack(22)
def test_nobody_is_led_to_a_root_before_the_console_is_below_it() -> None:
    known = bundle(0, 1, version=2)
    assert judged(known, bundle(1, version=9), step(0, 1), shown=0) == known


@pytest.mark.attack(22)
def test_a_root_that_was_given_up_is_not_taken_back() -> None:
    known = bundle(1, version=4)
    assert judged(known, bundle(0, 1, version=9), *CHAIN, shown=1) == known


@pytest.mark.attack(22)
@pytest.mark.parametrize("text", ["", "rubbish"])
def test_what_is_no_certificate_is_not_kept_and_breaks_nothing(text: str) -> None:
    known = bundle(0, version=1)
    assert judged(known, TrustBundle(version=2, roots=[text]), shown=0) == known
    broken = step(0, 1).model_copy(update={"root": text})
    assert judged(known, bundle(0, 1, version=2), broken, shown=0) == known
