"""This file is the whole road of a sealed account: `pcg account`, console, appliance; and who learns what of it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.appliance.sealed import Sealed
from gateway.cli import devices
from gateway.cli.devices import DeviceKeyChangedError, FingerprintDiffersError, Met, SealingKeyOldError
from gateway.clouds.accounts import Accounts
from gateway.contract.accounts import Resealed, SealedAccounts
from gateway.contract.messages import Hello, from_console
from gateway.contract.version import PROTOCOL
from gateway.identity import devicekeys, words
from gateway.identity.devicekeys import DeviceKey
from tests.fakes.console import Appliance, Line, candidate, cluster, paired_as
from tests.fakes.wishes import WHEN
from tests.unit.cli.conftest import User

PASSWORD = "correct horse battery staple"
VCENTER = ("--server", "vcenter.example.com", "--user", "svc-pcg@vsphere.local", "--password-file", "-")


@dataclass
class Place:
    """An appliance that keeps its sealed accounts as the real one does."""

    user: User
    appliance: Appliance
    device: DeviceKey
    state: Path

    def sealed(self) -> Sealed:
        gateway = self.appliance.paired.gateway_id
        return Sealed.open(self.state, gateway=gateway, device=self.device, clock=self.user.console.clock)

    def accounts(self) -> Accounts:
        return Accounts(self.state / "accounts", self.sealed())

    @asynccontextmanager
    async def connected(self, kept: Sealed) -> AsyncIterator[Line]:
        """Connect as an appliance of the present version, with its sealing key."""
        async with self.appliance.dialled() as channel:
            line = Line(self.appliance, channel)
            await line.say(
                Hello(
                    protocol=PROTOCOL,
                    software="9.9",
                    boot_id=uuid4(),
                    accounts=kept.names(),
                    next_event=1,
                    sealing_key=kept.sealing_key(),
                )
            )
            await channel.receive()
            yield line

    async def follow(self, line: Line, kept: Sealed, *, until: Callable[[SealedAccounts], bool]) -> None:
        """Do as the appliance does with what it is told, until it is told that."""
        while True:
            message = await line.hear(SealedAccounts)
            answer = await kept.take(message)
            if answer is not None:
                await line.say(answer)
            elif until(message):
                return

    async def create(self, *more: str, password: str = PASSWORD, gateway: str = "dc1") -> tuple[int | None, str]:
        command = ("account", "create", "vsphere", "main", "--gateway", gateway, *VCENTER, *more)
        answer = await self.user.pcg(*command, stdin=password)
        assert PASSWORD not in answer.out + answer.err
        return answer.code, answer.err


@pytest.fixture
async def place(user: User, tmp_path: Path) -> Place:
    user.is_signed_in()
    applicant, key = candidate()
    appliance = await paired_as(user.console, applicant, key)
    return Place(user, appliance, applicant.device, tmp_path / "appliance")


def names(*wanted: str) -> Callable[[SealedAccounts], bool]:
    return lambda message: [one.name for one in message.accounts] == list(wanted)


async def test_an_account_that_a_user_seals_is_signed_in_with_at_the_gateway(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept) as line:
        code, said = await place.create()
        assert (code, words.fingerprint(place.device.public_pem) in said, "first time" in said) == (0, True, True)
        await place.follow(line, kept, until=names("main"))
    account = place.accounts().read("main")
    assert (account.server, account.user) == ("vcenter.example.com", "svc-pcg@vsphere.local")
    assert account.password.get_secret_value() == PASSWORD


async def test_an_account_sealed_while_the_gateway_is_away_is_there_when_it_comes_back(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept) as line:
        await place.follow(line, kept, until=names())
    assert (await place.create())[0] == 0
    listed = json.loads((await place.user.pcg("account", "list", "-o", "json")).out)["gateways"][0]["items"][0]
    assert (listed["name"], listed["delivered"], listed["opens"], listed["version"]) == ("main", False, True, 1)
    async with place.connected(kept) as line:
        await place.follow(line, kept, until=names("main"))
    assert place.accounts().read("main").password.get_secret_value() == PASSWORD


async def test_a_command_that_was_given_after_an_account_arrives_after_it(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept) as line:
        await place.follow(line, kept, until=names())
    assert (await place.create())[0] == 0
    assert (await place.user.console.put(cluster(account="main"))).status == 202
    async with place.connected(kept) as line:
        heard = [from_console.validate_json(await line.channel.receive()) for _ in range(2)]
    assert [one.type for one in heard] == ["accounts", "deliver"]


async def test_nothing_is_sealed_to_a_gateway_that_has_not_said_what_to(place: Place) -> None:
    code, said = await place.create()
    assert (code, "account.no_sealing_key" in said) == (3, True)


async def test_an_account_is_replaced_only_if_that_is_said(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept) as line:
        assert (await place.create())[0] == 0
        code, said = await place.create(password="another")
        assert (code, "--replace" in said) == (2, True)
        code, said = await place.create("--replace", password="another")
        assert (code, "first time" in said) == (0, False)
        await place.follow(line, kept, until=lambda told: [one.version for one in told.accounts] == [2])
    assert place.accounts().read("main").password.get_secret_value() == "another"


async def test_what_is_deleted_is_gone_at_the_gateway_and_may_be_made_again(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept) as line:
        assert (await place.create())[0] == 0
        await place.follow(line, kept, until=names("main"))
        assert (await place.user.pcg("account", "delete", "main", "--gateway", "dc1", "--yes")).code == 0
        await place.follow(line, kept, until=names())
        assert kept.names() == []
        assert (await place.create())[0] == 0
        await place.follow(line, kept, until=names("main"))
    again = await place.user.pcg("account", "delete", "other", "--gateway", "dc1", "--yes")
    assert (again.code, "account.not_kept" in again.err) == (2, True)


async def test_of_two_who_seal_the_same_account_at_once_one_is_told(place: Place) -> None:
    async with place.connected(place.sealed()):
        done = []
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                making = place.create(password=f"password of {number}")
                done.append(group.create_task(making))
    codes = sorted(task.result()[0] or 0 for task in done)
    assert codes == [0, 2]


async def test_a_new_key_is_made_without_asking_for_the_password_again(place: Place) -> None:
    kept = place.sealed()
    old = kept.sealing_key()
    async with place.connected(kept) as line:
        assert (await place.create())[0] == 0
        await place.follow(line, kept, until=names("main"))
        assert (await place.user.pcg("account", "rotate-key", "--gateway", "dc1")).code == 0
        await place.follow(line, kept, until=lambda told: told.key_id not in {None, old.id} and not told.rotate)
    assert kept.sealing_key().id != old.id
    assert place.accounts().read("main").password.get_secret_value() == PASSWORD
    shown = await place.user.console.ask("GET", "/api/v1/gateways/dc1/sealing-key?account=main")
    assert shown.body["key"]["id"] == kept.sealing_key().id
    (listed,) = json.loads((await place.user.pcg("account", "list", "-o", "json")).out)["gateways"][0]["items"]
    assert (listed["opens"], listed["version"]) == (True, 1)


async def test_an_answer_about_a_new_key_that_was_lost_is_given_at_the_next_hello(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept) as line:
        assert (await place.create())[0] == 0
        await place.follow(line, kept, until=names("main"))
        assert (await place.user.pcg("account", "rotate-key", "--gateway", "dc1")).code == 0
        while not (message := await line.hear(SealedAccounts)).rotate:
            pass
        lost = await kept.take(message)
    assert isinstance(lost, Resealed)
    again = place.sealed()
    async with place.connected(again) as line:
        await place.follow(line, again, until=lambda told: told.key_id == lost.key.id and not told.rotate)
    assert again.sealing_key().id == lost.key.id
    assert place.accounts().read("main").password.get_secret_value() == PASSWORD


async def test_a_wish_for_a_new_key_waits_for_a_gateway_that_is_away(place: Place) -> None:
    kept = place.sealed()
    old = kept.sealing_key()
    async with place.connected(kept) as line:
        await place.follow(line, kept, until=names())
    asked = await place.user.pcg("account", "rotate-key", "--gateway", "dc1", "-o", "json")
    assert json.loads(asked.out)["rotating"] is True
    async with place.connected(kept) as line:
        await place.follow(line, kept, until=lambda told: told.key_id != old.id)
    listed = await place.user.console.ask("GET", "/api/v1/gateways/dc1/accounts")
    assert listed.body["rotating"] is False


async def _key_shown(place: Place) -> str:
    shown = await place.user.console.ask("GET", "/api/v1/gateways/dc1/sealing-key?account=main")
    return str(shown.body["key"]["id"])


async def _rotated(place: Place, kept: Sealed) -> None:
    """Have the key replaced on purpose, and the accounts sealed to the new one."""
    old = kept.sealing_key()
    async with place.connected(kept) as line:
        assert (await place.create())[0] == 0
        await place.follow(line, kept, until=names("main"))
        assert (await place.user.pcg("account", "rotate-key", "--gateway", "dc1")).code == 0
        await place.follow(line, kept, until=lambda told: told.key_id not in {None, old.id} and not told.rotate)


@pytest.mark.attack(28)
@pytest.mark.parametrize("said_in", ["hello", "message"])
async def test_a_key_that_was_replaced_is_not_brought_back_by_who_has_it_and_the_certificate(
    place: Place, tmp_path: Path, said_in: str
) -> None:
    kept = place.sealed()
    copy = shutil.copytree(place.state, tmp_path / "copy")
    await _rotated(place, kept)
    stolen = replace(place, state=copy).sealed()
    async with place.connected(stolen if said_in == "hello" else kept) as line:
        if said_in == "message":
            await line.say(Resealed(key=stolen.sealing_key()))
        await line.hear(SealedAccounts)
        await line.settle()
    assert await _key_shown(place) == kept.sealing_key().id != stolen.sealing_key().id


async def test_an_appliance_that_was_put_back_to_before_its_new_key_makes_a_newer_one(
    place: Place, tmp_path: Path
) -> None:
    kept = place.sealed()
    copy = shutil.copytree(place.state, tmp_path / "copy")
    await _rotated(place, kept)
    lost, back = kept.sealing_key(), replace(place, state=copy)
    restored = back.sealed()
    async with back.connected(restored) as line:
        await back.follow(line, restored, until=lambda told: told.key_id == restored.sealing_key().id)
        assert restored.sealing_key().made_at > lost.made_at
        assert await _key_shown(place) == restored.sealing_key().id
        assert (await back.create("--replace"))[0] == 0
        await back.follow(line, restored, until=lambda told: [one.version for one in told.accounts] == [2])
    assert back.accounts().read("main").password.get_secret_value() == PASSWORD


async def test_what_was_sealed_to_a_key_that_is_gone_meanwhile_is_not_kept(place: Place) -> None:
    async with place.connected(place.sealed()):
        body = {"version": 1, "key_id": "0" * 64, "sealed": "AAAA"}
        said = await place.user.console.ask("PUT", "/api/v1/gateways/dc1/accounts/main", body)
    assert (said.status, said.body["code"]) == (409, "account.key_changed")


async def test_a_sealing_key_that_the_device_key_did_not_sign_is_not_taken(place: Place) -> None:
    stranger = Place(place.user, place.appliance, devicekeys.new(), place.state)
    async with stranger.connected(stranger.sealed()) as line:
        await line.hear(SealedAccounts)
        code, said = await place.create()
    assert (code, "account.no_sealing_key" in said) == (3, True)


async def test_more_accounts_than_can_be_handed_over_are_refused(place: Place) -> None:
    kept = place.sealed()
    async with place.connected(kept):
        body = {"version": 1, "key_id": kept.sealing_key().id, "sealed": "A" * 8192}
        for number in range(100):
            said = await place.user.console.ask("PUT", f"/api/v1/gateways/dc1/accounts/a{number}", body)
            if said.status != 200:
                break
    assert (said.status, said.body["code"]) == (409, "account.too_many")
    assert 20 < number < 40


async def test_sealed_accounts_go_with_their_gateway(place: Place) -> None:
    async with place.connected(place.sealed()):
        assert (await place.create())[0] == 0
    assert (await place.user.pcg("gateway", "remove", "dc1", "--yes")).code == 0


@pytest.mark.attack(28)
async def test_the_console_has_nothing_that_opens_an_account(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """Database, its journal, every other file of the console's, its log and its audit log: no secret in any."""
    kept = place.sealed()
    async with place.connected(kept) as line:
        assert (await place.create())[0] == 0
        assert (await place.create("--replace"))[0] == 0
        await place.follow(line, kept, until=names("main"))
        assert (await place.user.pcg("account", "rotate-key", "--gateway", "dc1")).code == 0
        await place.follow(line, kept, until=lambda told: told.key_id == kept.sealing_key().id and not told.rotate)
        files = [one.read_bytes() for one in place.user.console.settings.state.rglob("*") if one.is_file()]
    told = await place.user.console.ask("GET", "/api/v1/audit")
    assert {"account.create", "account.replace", "account.rotate-key"} <= {one["action"] for one in told.body["items"]}
    out, err = capfd.readouterr()
    everything = [*files, out.encode(), err.encode(), json.dumps(told.body).encode()]
    assert any(b"sealed account kept" in one for one in everything), "the log is among what is searched"
    private = json.loads((place.state / "sealed" / "keys.json").read_bytes())["current"]["private"]
    for secret in (PASSWORD, "svc-pcg@vsphere.local", "vcenter.example.com", private):
        assert not [one for one in everything if secret.encode() in one]
    assert place.accounts().read("main").password.get_secret_value() == PASSWORD


KEYS = [devicekeys.new().public_pem for _ in range(2)]
BEFORE = Met(device_key=KEYS[0], sealing_made_at=WHEN)


def test_a_gateway_that_is_met_again_needs_no_words() -> None:
    now = BEFORE.model_copy(update={"sealing_made_at": WHEN + timedelta(days=1)})
    assert devices.judge(now, BEFORE, gateway="dc1", given=None) == words.fingerprint(KEYS[0])


def test_another_device_key_is_refused_until_its_words_are_given() -> None:
    now = BEFORE.model_copy(update={"device_key": KEYS[1]})
    with pytest.raises(DeviceKeyChangedError, match=r'--fingerprint "\.\.\."') as refused:
        devices.judge(now, BEFORE, gateway="dc1", given=None)
    shown = str(refused.value)
    assert words.fingerprint(KEYS[1]) not in shown, "who could copy them from here would not go and read them"
    read = words.fingerprint(KEYS[1]).replace("-", " ").upper()
    assert devices.judge(now, BEFORE, gateway="dc1", given=read) == words.fingerprint(KEYS[1])


@pytest.mark.parametrize("before", [None, BEFORE])
def test_words_that_differ_are_refused_also_at_the_first_meeting(before: Met | None) -> None:
    with pytest.raises(FingerprintDiffersError):
        devices.judge(BEFORE, before, gateway="dc1", given=words.fingerprint(KEYS[1]))


def test_a_sealing_key_that_was_replaced_is_not_sealed_to_again() -> None:
    now = BEFORE.model_copy(update={"sealing_made_at": WHEN - timedelta(seconds=1)})
    with pytest.raises(SealingKeyOldError):
        devices.judge(now, BEFORE, gateway="dc1", given=None)
