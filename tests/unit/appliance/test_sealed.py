"""This file shows what an appliance keeps of the accounts that come sealed, whatever its console makes of them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from gateway.appliance import sealed
from gateway.appliance.sealed import Sealed
from gateway.contract.accounts import Resealed, SealedAccount, SealedAccounts, SealingKey
from gateway.identity import devicekeys, sealing
from gateway.identity.devicekeys import DeviceKey
from tests.fakes.clock import HandClock

GATEWAY = UUID(int=7)
PASSWORD = b"correct horse battery staple"


@dataclass
class Place:
    """An appliance's state, and the console that it hears from."""

    state: Path
    device: DeviceKey

    def opened(self) -> Sealed:
        return Sealed.open(self.state, gateway=GATEWAY, device=self.device, clock=HandClock())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "state", devicekeys.new())


def account(key: SealingKey, name: str = "prod", *, version: int = 1, content: bytes = PASSWORD) -> SealedAccount:
    return sealing.seal(key, sealing.Label(GATEWAY, name, "vsphere", version), content)


def message(key: SealingKey, *accounts: SealedAccount, rotate: bool = False) -> SealedAccounts:
    return SealedAccounts(accounts=list(accounts), key_id=key.id, rotate=rotate)


async def test_what_has_come_is_opened_when_it_is_used_and_after_a_restart_too(place: Place) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    assert await kept.take(message(key, account(key))) is None
    again = place.opened()
    assert again.sealing_key().id == key.id
    for one in (kept, again):
        assert (one.names(), one.opened("prod"), one.opened("test")) == (["prod"], PASSWORD, None)


@pytest.mark.attack(28)
async def test_nothing_that_was_sealed_is_on_the_disk_in_the_clear(place: Place) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    await kept.take(message(key, account(key)))
    assert kept.opened("prod") == PASSWORD
    written = [one for one in place.state.rglob("*") if one.is_file()]
    assert {one.name for one in written} == {"keys.json", "accounts.json"}
    assert all(PASSWORD not in one.read_bytes() for one in written)
    assert all(one.stat().st_mode & 0o077 == 0 for one in place.state.rglob("*"))


async def test_what_the_console_keeps_no_more_is_forgotten(place: Place) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    await kept.take(message(key, account(key), account(key, "test")))
    await kept.take(message(key, account(key, "test")))
    assert kept.names() == ["test"]


async def test_an_older_version_never_takes_the_place_of_a_newer_one(place: Place) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    old, new = account(key, content=b"old"), account(key, version=2, content=b"new")
    await kept.take(message(key, new))
    await kept.take(message(key, old))
    assert place.opened().opened("prod") == b"new"


async def test_what_was_removed_comes_back_as_a_newer_version_only(place: Place) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    gone = account(key)
    await kept.take(message(key, gone))
    await kept.take(message(key))
    await kept.take(message(key, gone))
    assert place.opened().names() == []
    await kept.take(message(key, account(key, version=2)))
    assert place.opened().names() == ["prod"]


async def test_another_account_of_the_same_version_does_not_take_its_place(place: Place) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    await kept.take(message(key, account(key)))
    await kept.take(message(key, account(key, content=b"of the console's making")))
    assert kept.opened("prod") == PASSWORD


@pytest.mark.parametrize("twist", [{"name": "other"}, {"version": 9}, {"sealed": "AAAA"}, {"key_id": "0" * 64}])
async def test_an_account_that_does_not_open_as_what_it_says_is_not_kept(place: Place, twist: dict[str, str]) -> None:
    kept = place.opened()
    key = kept.sealing_key()
    await kept.take(message(key, account(key)))
    await kept.take(message(key, account(key), account(key, "test", version=2).model_copy(update=twist)))
    assert [(one, kept.opened(one)) for one in kept.names()] == [("prod", PASSWORD)]


async def rotated(kept: Sealed, *accounts: SealedAccount) -> Resealed:
    answer = await kept.take(message(kept.sealing_key(), *accounts, rotate=True))
    assert answer is not None
    return answer


async def test_a_new_key_is_made_when_it_is_wished_and_the_accounts_are_sealed_to_it(place: Place) -> None:
    kept = place.opened()
    old = kept.sealing_key()
    answer = await rotated(kept, account(old), account(old, "test", version=4))
    assert answer.key == kept.sealing_key() != old
    sealing.check(answer.key, GATEWAY)
    assert [(one.name, one.version, one.key_id) for one in answer.accounts] == [
        ("prod", 1, answer.key.id),
        ("test", 4, answer.key.id),
    ]
    assert await kept.take(message(answer.key, *answer.accounts)) is None
    assert place.opened().opened("prod") == PASSWORD


async def test_the_old_key_goes_when_the_console_has_the_new_one_and_all_is_sealed_to_it(place: Place) -> None:
    kept = place.opened()
    before = account(kept.sealing_key())
    answer = await rotated(kept, before)
    keys = place.state / "sealed" / "keys.json"
    assert len(sealed.Keys.model_validate_json(keys.read_bytes()).former) == 1
    await kept.take(message(answer.key, *answer.accounts))
    assert sealed.Keys.model_validate_json(keys.read_bytes()).former == []


async def test_an_answer_that_was_lost_is_given_again_after_a_restart(place: Place) -> None:
    kept = place.opened()
    old = kept.sealing_key()
    stale = account(old)
    lost = await rotated(kept, stale)
    again = await place.opened().take(message(old, stale, rotate=True))
    assert again is not None
    assert again.key.id == lost.key.id, "asked twice, rotated once"
    assert [one.key_id for one in again.accounts] == [lost.key.id]


async def test_what_a_user_sealed_to_the_old_key_meanwhile_is_sealed_anew_too(place: Place) -> None:
    kept = place.opened()
    old = kept.sealing_key()
    answer = await rotated(kept, account(old))
    late = account(old, version=2, content=b"newer")
    second = await kept.take(message(answer.key, late))
    assert second is not None
    assert [(one.version, one.key_id) for one in second.accounts] == [(2, answer.key.id)]
    assert await kept.take(message(answer.key, *second.accounts)) is None
    assert place.opened().opened("prod") == b"newer"


async def test_a_wish_to_replace_another_key_than_the_current_one_is_over(place: Place) -> None:
    kept = place.opened()
    old = kept.sealing_key()
    answer = await rotated(kept)
    await kept.take(message(answer.key))
    again = await kept.take(message(old, rotate=True))
    assert again is not None
    assert again.key.id == answer.key.id


async def test_each_key_is_newer_than_the_one_before_whatever_the_clock_says(place: Place) -> None:
    kept = place.opened()
    for _ in range(3):
        before = kept.sealing_key()
        await kept.take(message(before, rotate=True))
        assert kept.sealing_key().made_at > before.made_at
        await kept.take(message(kept.sealing_key()))


async def test_a_key_that_is_older_than_the_consoles_is_followed_by_a_newer_one(place: Place) -> None:
    kept = place.opened()
    mine, later = kept.sealing_key(), timedelta(days=900)
    theirs = SealedAccounts(accounts=[account(mine)], key_id="0" * 64, key_made_at=mine.made_at + later)
    said = await kept.take(theirs)
    assert isinstance(said, Resealed)
    assert said.key.made_at > mine.made_at + later
    assert [one.key_id for one in said.accounts] == [said.key.id]
    assert place.opened().opened("prod") == PASSWORD


@pytest.mark.parametrize("moment", [datetime.max.replace(tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)])
async def test_no_moment_that_a_console_may_say_breaks_the_keys(place: Place, moment: datetime) -> None:
    kept = place.opened()
    mine = kept.sealing_key()
    for _ in range(3):
        await kept.take(SealedAccounts(accounts=[account(mine)], key_id="0" * 64, key_made_at=moment))
    assert place.opened().opened("prod") == PASSWORD
    assert len(json.loads((place.state / "sealed" / "keys.json").read_bytes())["former"]) <= sealed.MOST_FORMER


async def test_a_console_that_does_not_know_the_key_is_told(place: Place) -> None:
    kept = place.opened()
    answer = await kept.take(SealedAccounts(accounts=[]))
    assert answer == Resealed(key=kept.sealing_key(), accounts=[])


async def test_a_version_that_is_refused_does_not_keep_an_account_from_the_new_key(place: Place) -> None:
    """The former key goes with nothing left behind that only it opens."""
    kept = place.opened()
    old = kept.sealing_key()
    await kept.take(message(old, account(old, version=2)))
    strange = account(old, version=1).model_copy(update={"key_id": "0" * 64})
    answer = await rotated(kept, strange)
    await kept.take(message(answer.key, strange))
    assert place.opened().opened("prod") == PASSWORD


async def test_more_names_than_anybody_has_are_not_remembered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "MOST_REMEMBERED", 2)
    kept = place.opened()
    key = kept.sealing_key()
    for name in ("a", "b", "c"):
        await kept.take(message(key, account(key, name)))
    assert kept.names() == []
    await kept.take(message(key, account(key, "a", version=2)))
    assert kept.names() == ["a"]


def test_a_damaged_file_is_told_by_its_path_and_not_by_what_is_in_it(place: Place) -> None:
    place.opened()
    path = place.state / "sealed" / "keys.json"
    path.write_text(path.read_text().replace("current", "courant"))
    with pytest.raises(sealed.SealedUnreadableError, match=r"keys\.json") as told:
        place.opened()
    assert "private" not in str(told.value)


async def test_an_appliance_that_was_paired_anew_while_it_runs_vouches_with_its_new_device_key(place: Place) -> None:
    kept, other = place.opened(), devicekeys.new()
    key = kept.sealing_key()
    await kept.take(message(key, account(key)))
    kept.vouch(other)
    anew = kept.sealing_key()
    assert (anew.id, anew.device_key) == (key.id, other.public_pem)
    sealing.check(anew, GATEWAY)
    assert kept.opened("prod") == PASSWORD
