"""This file is what is written on a machine and read back from it."""

import json
from base64 import b64decode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clouds.port import MachineWish, Owner
from gateway.clouds.vsphere import machines, marks
from gateway.contract.clusters import PoolRole
from gateway.provisioning import guestdata

OWNER = Owner(cluster=UUID(int=7), cluster_name="demo", pool="cp", role=PoolRole.CONTROL_PLANE, ordinal=2)


def a_wish(metadata: str = "mac: {mac}", userdata: str = "#cloud-config\n") -> MachineWish:
    return MachineWish(OWNER, UUID(int=1), cpus=2, memory_mib=2048, guest_metadata=metadata, guest_userdata=userdata)


@given(st.builds(Owner, st.uuids(), st.text(), st.text(), st.sampled_from(PoolRole), st.integers(min_value=0)))
def test_an_owner_is_read_as_it_was_written(owner: Owner) -> None:
    assert marks.owner_of(marks.read(marks.written(marks.of_owner(owner)))) == owner


@pytest.mark.parametrize("spoilt", [*marks.of_owner(OWNER)])
def test_marks_that_are_incomplete_or_spoilt_are_nobodys(spoilt: str) -> None:
    settings = marks.of_owner(OWNER)
    assert marks.owner_of({key: value for key, value in settings.items() if key != spoilt}) is None
    if spoilt in {marks.CLUSTER, marks.ROLE, marks.ORDINAL}:
        assert marks.owner_of(settings | {spoilt: "spoilt"}) is None


def test_metadata_that_needs_the_mac_address_is_written_only_once_it_is_known() -> None:
    assert marks.METADATA not in marks.at_birth(a_wish())
    complete = marks.complete(a_wish(), mac="00:50:56:00:00:01")
    assert b64decode(complete[marks.METADATA]).decode() == "mac: 00:50:56:00:00:01"
    assert complete[f"{marks.METADATA}.encoding"] == "base64"


def test_the_metadata_that_provisioning_writes_is_completed_with_the_mac_address() -> None:
    wish = a_wish(guestdata.meta_data(instance=UUID(int=1), host_name="demo-cp-2"))
    assert marks.METADATA not in marks.at_birth(wish)
    told = b64decode(marks.complete(wish, mac="00:50:56:00:00:01")[marks.METADATA]).decode()
    assert json.loads(told)["network"]["ethernets"]["first"]["match"] == {"macaddress": "00:50:56:00:00:01"}


def test_metadata_without_the_mac_address_is_written_with_the_clone() -> None:
    assert marks.at_birth(a_wish("plain")) == marks.complete(a_wish("plain"), mac="00:50:56:00:00:01")


def test_no_mark_can_be_read_inside_the_guest() -> None:
    assert not [key for key in marks.of_owner(OWNER) if key.startswith("guestinfo.")]


def test_two_clusters_made_in_the_same_minute_have_folders_of_their_own() -> None:
    first, second = UUID("01938d7f-0000-7000-8000-000000000001"), UUID("01938d7f-0001-7000-8000-000000000002")
    assert machines.folder_name(first, "demo") != machines.folder_name(second, "demo")
