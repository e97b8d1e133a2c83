"""This file is the promises of the targets: one spelling of a host, private files, and no way around either."""

import stat
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.appliance.targets import (
    Target,
    TargetInvalidError,
    Targets,
    TargetUnknownError,
    TargetUnreadableError,
)


def a_target(host: str = "10.0.0.5", *, allow: tuple[str, ...] = ()) -> Target:
    return Target(kind="vcenter", host=host, port=443, allow=allow)


def test_a_target_is_kept_private_and_read_back(tmp_path: Path) -> None:
    targets = Targets(tmp_path / "targets")
    targets.write("vc", a_target())
    assert targets.read("vc") == a_target()
    assert stat.S_IMODE((tmp_path / "targets/vc.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "targets").stat().st_mode) == 0o700


def test_an_address_allows_itself_and_nothing_else() -> None:
    assert a_target().networks == (ip_network("10.0.0.5/32"),)
    assert a_target("2001:db8::5").networks == (ip_network("2001:db8::5/128"),)


def test_a_name_needs_to_be_told_which_addresses_it_may_have() -> None:
    with pytest.raises(ValidationError, match="--allow"):
        a_target("vcenter.example.com")
    assert a_target("vcenter.example.com", allow=("10.0.0.0/24",)).networks == (ip_network("10.0.0.0/24"),)


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "0x",
        "017700000001",
        "127.1",
        "10.0.0",
        "010.0.0.5",
        "10.0.0.5.",
        "10.0.0.256",
        "1.2.3.4.5",
        "0x0a.0.0.5",
        "user@10.0.0.5",
        "vcenter.example.com@10.0.0.5",
        "vcenter.example.com:443",
        "10.0.0.5:443",
        "[2001:db8::5]",
        "http://10.0.0.5",
        "10.0.0.5/24",
        "vcenter.example.com.",
        ".example.com",
        "a..b",
        "-a.example",
        "a-.example",
        "vcenter.example.com\n",
        "vcenter.example.com\x00",
        " vcenter",
        "",
        "vc\u0435nter.example.com",
        "\u217bcenter.example.com",
        "vcenter\u3002example.com",
        "\uff11\uff10.0.0.5",
        "xn--vcnter-3of.example.com",
        "a.xn--p1ai",
        "localhost",
        "a.localhost",
        "VCENTER.example.com",
        "under_score.example.com",
        "*",
        "%31%30.0.0.5",
        "a" * 64,
        "a." * 127 + "a",
        "fe80::1",
        "fe80::1%eth0",
        "2001:db8::5%1",
        "2001:DB8::5",
        "2001:0db8::5",
        "::ffff:10.0.0.5",
        "::ffff:a00:5",
        "::10.0.0.5",
        "64:ff9b::a00:5",
        "64:ff9b:1::a00:5",
        "2002:a00:5::1",
        "2001:0:a00:5::1",
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "169.254.169.254",
        "fd00:ec2::254",
        "::1",
        "::",
        "224.0.0.1",
        "255.255.255.255",
    ],
    ids=repr,
)
def test_a_host_that_could_be_read_as_another_is_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        a_target(host, allow=("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize(
    "host",
    ["vcenter", "vcenter.example.com", "a1.b2", "1.example", "10.0.0.5", "2001:db8::5", "a" * 63, "0x7f.example"],
)
def test_plain_hosts_are_taken(host: str) -> None:
    assert a_target(host, allow=("10.0.0.0/8", "2001:db8::/32")).host == host


@given(st.text(max_size=30))
def test_no_host_but_plain_ascii_is_ever_taken(host: str) -> None:
    try:
        taken = a_target(host, allow=("10.0.0.0/8",))
    except ValidationError:
        return
    assert taken.host == host
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.:")


@pytest.mark.parametrize("network", ["10.0.0.1/24", "10.0.0.0/33", "a", "", "10.0.0.0/255.0.0.255", "fe80::1%eth0/x"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValidationError, match="network"):
        a_target("vcenter", allow=(network,))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ValidationError):
        Target(host="10.0.0.5", port=port)


@pytest.mark.attack(10)
@pytest.mark.parametrize("name", ["", "../vc", "/etc/passwd", "vc.json", "VC", "vc\n", "a/b", ".", "vc\x00", "v\u0441"])
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "vc.json").write_text(a_target().model_dump_json())
    targets = Targets(tmp_path / "targets")
    with pytest.raises(TargetInvalidError):
        targets.write(name, a_target())
    with pytest.raises(TargetUnknownError):
        targets.read(name)
    with pytest.raises(TargetUnknownError):
        targets.remove(name)
    assert (tmp_path / "vc.json").exists()


def test_the_console_is_told_names_and_kinds_and_no_address(tmp_path: Path) -> None:
    targets = Targets(tmp_path)
    targets.write("vc", a_target())
    targets.write("shell", Target(kind="ssh", host="10.0.0.6", port=22))
    assert [(one.id, one.kind) for one in targets.offered()] == [("shell", "ssh"), ("vc", "vcenter")]
    assert "10.0.0" not in "".join(one.model_dump_json() for one in targets.offered())


def test_a_damaged_target_is_named_and_is_not_offered(tmp_path: Path) -> None:
    targets = Targets(tmp_path)
    targets.write("vc", a_target())
    (tmp_path / "bad.json").write_text("{")
    assert [one.id for one in targets.offered()] == ["vc"]
    with pytest.raises(TargetUnreadableError, match="bad"):
        targets.read("bad")


def test_a_target_edited_by_hand_is_checked_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "vc.json").write_text('{"host": "127.0.0.1", "port": 443}')
    with pytest.raises(TargetUnreadableError):
        Targets(tmp_path).read("vc")


def test_a_removed_target_is_gone_and_the_others_are_named(tmp_path: Path) -> None:
    targets = Targets(tmp_path)
    targets.write("a", a_target())
    targets.write("b", a_target())
    targets.remove("a")
    with pytest.raises(TargetUnknownError, match="it has: b"):
        targets.remove("a")


def test_reading_a_target_looks_at_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Targets(tmp_path)
    targets.write("vc", a_target())

    def looking(*_: object) -> None:
        raise AssertionError("the whole directory is read")

    monkeypatch.setattr(Path, "glob", looking)
    monkeypatch.setattr(Path, "iterdir", looking)
    assert targets.read("vc") == a_target()


def test_a_file_whose_name_is_none_of_a_target_is_none(tmp_path: Path) -> None:
    targets = Targets(tmp_path)
    targets.write("vc", a_target())
    (tmp_path / "VC.json").write_text(a_target().model_dump_json())
    assert targets.names() == ["vc"]
    with pytest.raises(TargetUnknownError):
        targets.read("VC")
