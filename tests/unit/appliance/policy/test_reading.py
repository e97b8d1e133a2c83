"""This file is the promises of the policy file: each mistake is told with its place, a damaged one allows nothing."""

import contextlib
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.appliance.policy import reading
from gateway.appliance.policy.reading import PolicyFile, PolicyInvalidError, PolicyUnreadableError
from gateway.contract.policy import DestroyNeeds, Profile

WHOLE = """\
version: 1
profile: operate
commands:
  allow: [read, change, cluster.delete]
  deny: [command.cancel]
vsphere:
  accounts: [lab]
  networks: ["vlan-*"]
targets:
  allow: ["web-*"]
  lanes: [interactive]
quotas:
  at_a_time: {machines: 20, cpus: 80, memory_gib: 320, disk_gib: 2000}
  per_day: {machines: 10}
  machine_disk_gib: 40
hours:
  time_zone: Europe/Berlin
  windows:
    - {days: [mon, tue], opens: 07:00, closes: 19:00}
destroy:
  needs: signature
  keys:
    alice: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
"""


def said(text: str) -> str:
    with pytest.raises(PolicyInvalidError) as caught:
        reading.parse(text.encode(), name="p.yaml")
    return caught.value.message


def test_a_whole_policy_is_read() -> None:
    known = reading.parse(WHOLE.encode(), name="p.yaml")
    assert known.policy.profile is Profile.OPERATE
    assert known.policy.destroy.needs is DestroyNeeds.SIGNATURE
    assert known.policy.quotas.at_a_time.disk_gib == 2000
    assert known.sha256 == hashlib.sha256(WHOLE.encode()).hexdigest()


def test_times_of_the_day_may_be_written_without_quotes() -> None:
    window = reading.parse(WHOLE.encode(), name="p.yaml").policy.hours.windows[0]
    assert (window.opens, window.closes) == ("07:00", "19:00")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("profile: operate", "profile: admin", "p.yaml:2:10: profile: Input should be 'observe', 'provision', "),
        ("profile: operate\n", "", "p.yaml:1:1: profile: this key is missing"),
        ("commands:", "comands:", "p.yaml:3:1: comands: unknown key; did you mean commands?"),
        ("  accounts:", "  account:", "p.yaml:7:3: vsphere.account: unknown key; did you mean accounts?"),
        ("read, change", "read, chnge", "p.yaml:4:17: commands.allow[1]: no class or kind of commands; known are read"),
        ("machines: 20", "machines: -1", "p.yaml:13:25: quotas.at_a_time.machines: Input should be greater"),
        ("machines: 20", "machines: many", "p.yaml:13:25: quotas.at_a_time.machines: Input should be a valid integer"),
        ("  machine_disk_gib: 40\n", "", "p.yaml:13:3: quotas: a bound on disk needs machine_disk_gib"),
        ("Europe/Berlin", "Berlin", "p.yaml:17:14: hours.time_zone: no time zone; write such as Europe/Berlin"),
        ("Europe/Berlin", "../../etc/passwd", "p.yaml:17:14: hours.time_zone: no time zone"),
        ("closes: 19:00", "closes: 25:00", "p.yaml:19:48: hours.windows[0].closes: a time of the day is"),
        ("closes: 19:00", "closes: 07:00", "p.yaml:19:7: hours.windows[0]: the window opens and closes at once"),
        ("[mon, tue]", "[monday]", "p.yaml:19:15: hours.windows[0].days[0]: Input should be 'mon', 'tue'"),
        ("needs: signature", "needs: signature\n  signatures: 2", "2 signatures are needed and 1 keys named"),
        ("    alice: AAA", "    alice: BA", "p.yaml:23:12: destroy.keys.alice: a key is"),
        ("version: 1", "version: 2", "p.yaml:1:10: version: Input should be less than or equal to 1"),
        ("[lab]", "[]\n  accounts: [lab]", "p.yaml:8:3: the key 'accounts' stands here twice, first in line 7"),
        ("[lab]", "!!python/object:os.system {}", "p.yaml:7:13: the tag "),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, expected: str) -> None:
    assert old in WHOLE
    assert expected in said(WHOLE.replace(old, new, 1))


def test_all_mistakes_are_told_at_once() -> None:
    assert len(said("profile: nobody\nhurs: {}\nquotas: 3\n").splitlines()) == 3


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_a_file_holds_it_is_a_policy_or_a_mistake(content: bytes) -> None:
    with contextlib.suppress(PolicyInvalidError):
        assert reading.parse(content, name="p.yaml").policy.profile in Profile


def test_where_there_is_no_policy_one_is_made_that_observes(tmp_path: Path) -> None:
    file = PolicyFile(tmp_path)
    file.make()
    assert file.read().policy.profile is Profile.OBSERVE
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_policy_that_is_there_is_left_alone(tmp_path: Path) -> None:
    file = PolicyFile(tmp_path)
    file.write(reading.of_profile(Profile.OPERATE))
    file.make()
    assert file.read().policy.profile is Profile.OPERATE


def test_a_change_is_seen_at_once(tmp_path: Path) -> None:
    file = PolicyFile(tmp_path)
    file.make()
    file.read()
    file.path.write_text("profile: operate\n")
    assert file.read().policy.profile is Profile.OPERATE


def test_a_damaged_policy_allows_nothing_and_a_mended_one_does_again(tmp_path: Path) -> None:
    file = PolicyFile(tmp_path)
    file.make()
    file.read()
    file.path.write_text("profile: operte\n")
    for _ in range(2):
        with pytest.raises(PolicyUnreadableError, match=r"nothing is allowed.*:1:10: profile"):
            file.read()
    file.path.write_text("profile: operate\n")
    assert file.read().policy.profile is Profile.OPERATE


@pytest.mark.attack(33)
@pytest.mark.parametrize("what", ["writable", "foreign", "link", "gone", "directory"])
def test_a_policy_that_is_not_the_sites_alone_allows_nothing(tmp_path: Path, what: str) -> None:
    file = PolicyFile(tmp_path)
    file.make()
    match what:
        case "writable":
            file.path.chmod(0o620)
        case "foreign":
            if os.geteuid() != 0:
                pytest.skip("only root gives files away")
            os.chown(file.path, 12345, 12345)
        case "link":
            file.path.rename(tmp_path / "elsewhere")
            file.path.symlink_to(tmp_path / "elsewhere")
        case "gone":
            file.path.unlink()
        case "directory":
            file.path.unlink()
            file.path.mkdir()
    with pytest.raises(PolicyUnreadableError, match="nothing is allowed"):
        file.read()
