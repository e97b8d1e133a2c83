"""This file is the promises of who the appliance is, on disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.appliance.identity import GrantWrongError, Identity, Joined, NotPairedError
from gateway.contract.identity import Granted
from gateway.contract.trust import Grounds, TrustBundle
from gateway.identity import keys
from gateway.identity.authority import Authority
from gateway.identity.keys import KeyUnreadableError
from gateway.kit import files
from gateway.kit.files import DirectoryNotPrivateError
from tests.unit.appliance.conversation import ScriptedConsole

CERTIFICATE = Path("certificates") / "1"
KEPT = [
    "certificates",
    "certificates/1",
    "certificates/1/request.pem",
    "certificates/1/tls.key",
    "certificates/1/tls.pem",
    "devices",
    "devices/1",
    "devices/1/device.key",
    "joined.json",
]


class PowerCutError(BaseException):
    """The power was cut."""


@pytest.fixture
def console(tmp_path: Path) -> ScriptedConsole:
    return ScriptedConsole(tmp_path / "console")


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity.open(files.make_private_directory(tmp_path / "state"))


def grant(console: ScriptedConsole, identity: Identity) -> Granted:
    known = identity.member()
    return console.grant(identity.next_request(), known.gateway_id, number=known.join.number + 1)


def shown_by(console: ScriptedConsole) -> str:
    """Return what the console shows of itself."""
    return console.authority.sign_server(keys.new_key().public_key(), ["127.0.0.1"], now=console.now).pem


def names(directory: Path) -> list[str]:
    return sorted(str(one.relative_to(directory)) for one in directory.rglob("*"))


@pytest.mark.attack(33)
def test_everything_kept_is_for_the_appliance_alone(console: ScriptedConsole, identity: Identity) -> None:
    console.pair(identity)
    assert names(identity.directory) == KEPT
    modes = {one.is_dir(): one.stat().st_mode & 0o777 for one in identity.directory.rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert identity.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.attack(33)
def test_an_identity_open_to_others_is_not_used(tmp_path: Path, identity: Identity) -> None:
    identity.directory.chmod(0o750)
    with pytest.raises(DirectoryNotPrivateError):
        Identity.open(tmp_path / "state")


@pytest.mark.attack(33)
def test_a_link_in_the_place_of_the_identity_is_not_followed(tmp_path: Path) -> None:
    elsewhere = files.make_private_directory(tmp_path / "elsewhere")
    files.make_private_directory(tmp_path / "state").joinpath("identity").symlink_to(elsewhere)
    with pytest.raises(DirectoryNotPrivateError):
        Identity.open(tmp_path / "state")


@pytest.mark.attack(33)
@pytest.mark.parametrize("name", ["joined.json", "certificates/1/tls.key", "certificates/1/tls.pem"])
def test_a_link_in_the_place_of_a_file_is_not_followed(
    tmp_path: Path, console: ScriptedConsole, identity: Identity, name: str
) -> None:
    console.pair(identity)
    kept = identity.directory / name
    kept.replace(tmp_path / "moved")
    kept.symlink_to(tmp_path / "moved")
    with pytest.raises(NotPairedError, match="pair the appliance again"):
        identity.tls()


@pytest.mark.attack(33)
def test_a_link_is_replaced_and_what_it_leads_to_left_alone(
    tmp_path: Path, console: ScriptedConsole, identity: Identity
) -> None:
    (tmp_path / "victim").write_text("precious")
    (identity.directory / "joined.json").symlink_to(tmp_path / "victim")
    with pytest.raises(NotPairedError):
        console.pair(identity)
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.attack(33)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_join_state_that_others_could_read_is_not_used(
    console: ScriptedConsole, identity: Identity, mode: int
) -> None:
    console.pair(identity)
    (identity.directory / "joined.json").chmod(mode)
    with pytest.raises(NotPairedError):
        identity.joined()


def test_an_appliance_brings_the_same_keys_to_every_attempt(tmp_path: Path, identity: Identity) -> None:
    first = identity.candidate()
    again = Identity.open(tmp_path / "state").candidate()
    assert (first.device.public_pem, first.request) == (again.device.public_pem, again.request)


def test_without_pairing_there_is_none(identity: Identity) -> None:
    identity.candidate()
    assert identity.paired() is None
    with pytest.raises(NotPairedError):
        identity.tls()


def test_pairing_is_there_after_a_restart(tmp_path: Path, console: ScriptedConsole, identity: Identity) -> None:
    paired = console.pair(identity)
    again = Identity.open(tmp_path / "state")
    assert again.paired() == paired
    assert again.tls().get_ca_certs()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"gateway_id": 1}', b"\xff\xfe"], ids=repr)
def test_a_damaged_pairing_is_named_and_not_taken_for_none(
    console: ScriptedConsole, identity: Identity, content: bytes
) -> None:
    console.pair(identity)
    (identity.directory / "joined.json").write_bytes(content)
    with pytest.raises(NotPairedError, match=r"joined\.json is damaged"):
        identity.paired()


@pytest.mark.parametrize("name", ["tls.pem", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"\xff"], ids=repr)
def test_a_damaged_certificate_is_said_to_be_unreadable(
    console: ScriptedConsole, identity: Identity, name: str, content: bytes | None
) -> None:
    console.pair(identity)
    path = identity.directory / CERTIFICATE / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(NotPairedError, match="pair the appliance again"):
        identity.tls()


def test_a_key_that_is_not_the_certificates_is_noticed(console: ScriptedConsole, identity: Identity) -> None:
    console.pair(identity)
    keys.write(identity.directory / CERTIFICATE / "tls.key", keys.new_key())
    with pytest.raises(NotPairedError):
        identity.tls()


@pytest.mark.parametrize("name", ["devices/1/device.key", "certificates/1/tls.key"])
@pytest.mark.parametrize("content", [b"", b"rubbish"], ids=repr)
def test_a_damaged_key_is_named_and_never_replaced(identity: Identity, name: str, content: bytes) -> None:
    identity.candidate()
    (identity.directory / name).write_bytes(content)
    with pytest.raises(KeyUnreadableError, match=Path(name).name):
        identity.candidate()
    assert (identity.directory / name).read_bytes() == content


# -- the next certificate


def test_the_next_certificate_is_asked_for_with_the_same_request_until_it_is_granted(
    tmp_path: Path, console: ScriptedConsole, identity: Identity
) -> None:
    console.pair(identity)
    first = identity.next_request()
    assert Identity.open(tmp_path / "state").next_request() == first
    identity.granted(grant(console, identity))
    assert identity.next_request() != first


def test_what_is_granted_is_used_with_a_new_key_and_the_former_goes_with_the_next_request(
    console: ScriptedConsole, identity: Identity
) -> None:
    console.pair(identity)
    before, key = identity.certificate(), (identity.directory / CERTIFICATE / "tls.key").read_bytes()
    granted = grant(console, identity)
    joined = identity.granted(granted)
    assert identity.certificate() != before
    assert (identity.directory / "certificates" / str(joined.certificate) / "tls.key").read_bytes() != key
    assert joined.join == granted.join
    identity.next_request()
    assert not (identity.directory / CERTIFICATE).exists()
    identity.tls()


def test_a_certificate_for_another_key_is_not_kept(console: ScriptedConsole, identity: Identity) -> None:
    console.pair(identity)
    before, theirs = identity.member(), console.grant(identity.candidate().request, identity.member().gateway_id)
    for wrong in ("", "rubbish", console.authority.root):
        with pytest.raises(GrantWrongError):
            identity.granted(theirs.model_copy(update={"certificate": wrong}))
    assert identity.member() == before
    identity.tls()


def test_an_older_trust_bundle_never_replaces_a_newer_one(console: ScriptedConsole, identity: Identity) -> None:
    console.pair(identity)
    roots = identity.member().trust.roots
    said = {"grounds": Grounds(), "shown": shown_by(console)}
    assert identity.trusting(TrustBundle(version=7, roots=roots), **said).trust.version == 7
    assert identity.trusting(TrustBundle(version=6, roots=roots), **said).trust.version == 7
    assert identity.granted(grant(console, identity)).trust.version == 7


@pytest.mark.attack(22)
def test_what_a_certificate_comes_with_makes_nobody_trusted(
    tmp_path: Path, console: ScriptedConsole, identity: Identity
) -> None:
    console.pair(identity)
    other = Authority.open(tmp_path / "other", now=console.now)
    good, trust = grant(console, identity), identity.member().trust
    for roots in (other.trust.roots, [*trust.roots, other.root], ["rubbish"]):
        said = good.model_copy(update={"trust": TrustBundle(version=9, roots=roots)})
        assert identity.granted(said).trust == trust
        good = grant(console, identity)


@pytest.mark.attack(22)
def test_a_certificate_that_nobody_trusted_vouches_for_is_not_kept(
    tmp_path: Path, console: ScriptedConsole, identity: Identity
) -> None:
    console.pair(identity)
    before, other = identity.member(), Authority.open(tmp_path / "other", now=console.now)
    theirs = other.sign_gateway(identity.next_request(), before.gateway_id, now=console.now).pem
    granted = grant(console, identity).model_copy(update={"certificate": theirs, "trust": other.trust})
    with pytest.raises(GrantWrongError):
        identity.granted(granted)
    assert identity.member() == before, "the join state that came with it would be worth nothing at the console"


def test_the_consoles_time_is_kept_once_an_hour_and_never_goes_back(
    console: ScriptedConsole, identity: Identity
) -> None:
    console.pair(identity)
    start, hour = console.now, timedelta(hours=1)
    for offset, kept in ((0.5, 0.0), (1.0, 1.0), (0.2, 1.0), (-99.0, 1.0), (1.9, 1.0), (5.0, 5.0)):
        assert identity.told(start + offset * hour).told == start + kept * hour


def test_an_appliance_that_is_paired_anew_brings_keys_that_no_copy_of_it_has(
    console: ScriptedConsole, identity: Identity
) -> None:
    first, asked = identity.candidate(), None
    console.pair(identity)
    asked = identity.next_request()
    anew = identity.candidate()
    assert anew.device.public_pem != first.device.public_pem
    assert anew.request not in {first.request, asked}
    old = identity.member()
    assert identity.device().public_pem == first.device.public_pem, "until it is paired it is who it was"
    console.pair(identity)
    assert identity.device().public_pem == anew.device.public_pem
    assert identity.member().gateway_id != old.gateway_id
    identity.tidy()
    assert not (identity.directory / "devices" / "1").exists()


# -- cuts


@contextmanager
def power_cut_before(operation: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Cut the power before the file operation of that number: nothing after it reaches the disk."""
    done: list[str] = []

    def counted(name: str, real: Any) -> Any:  # noqa: ANN401 - any function of the operating system
        def call(*args: object, **named: object) -> object:
            if len(done) >= operation:
                raise PowerCutError
            done.append(name)
            return real(*args, **named)

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "mkdir", "replace", "rename", "unlink", "rmdir", "fsync", "fchmod"):
            patched.setattr(os, name, counted(name, getattr(os, name)))
        yield done


def state_of(identity: Identity) -> Joined:
    """Return what is in use, having seen that it is whole: certificate, key and device key fit."""
    identity.tls()
    identity.device()
    return identity.member()


@pytest.mark.parametrize("step", ["renewal", "pairing anew"])
def test_a_cut_between_any_two_file_operations_leaves_the_whole_old_identity_or_the_whole_new_one(
    tmp_path: Path, console: ScriptedConsole, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    seen: set[int] = set()
    for operation in range(1000):
        state = files.make_private_directory(tmp_path / f"state-{operation}")
        identity = Identity.open(state)
        console.pair(identity)
        old = state_of(identity)
        with power_cut_before(operation, monkeypatch) as done:
            try:
                if step == "renewal":
                    identity.granted(grant(console, identity))
                    identity.tidy()
                else:
                    console.pair(identity)
                cut = False
            except PowerCutError:
                cut = True
        after = Identity.open(state)
        now = state_of(after)
        assert now == old or (now.join != old.join and now.certificate > old.certificate), done
        seen.add(now.certificate)
        after.granted(grant(console, after))
        after.tidy()
        state_of(after)
        assert not [one for one in names(after.directory) if "/." in f"/{one}"]
        if not cut:
            break
    assert not cut
    assert len(seen) == 2, "some cuts left the old one, and some the new one"
