"""This file is what cloud-init is promised by guestdata."""

import json
from uuid import UUID

import yaml

from gateway.provisioning import guestdata

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ appliance"
INSTANCE = UUID("00000000-0000-5000-8000-000000000001")


def test_userdata_begins_with_the_line_without_which_cloud_init_ignores_it() -> None:
    assert guestdata.user_data(authorized_key=KEY).splitlines()[0] == "#cloud-config"


def test_only_the_appliances_user_is_made_with_only_its_key_and_no_password() -> None:
    config = yaml.safe_load(guestdata.user_data(authorized_key=KEY))

    (user,) = config["users"]
    assert user["name"] == "pcg"
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["lock_passwd"] is True
    assert config["ssh_pwauth"] is False


def test_a_key_with_yaml_in_its_comment_stays_text() -> None:
    nasty = f"{KEY}\"\nruncmd: [reboot] # {{{{ x }}}} '"

    config = yaml.safe_load(guestdata.user_data(authorized_key=nasty))

    assert config["users"][0]["ssh_authorized_keys"] == [nasty]
    assert ["reboot"] not in config["runcmd"]


def test_the_machine_ends_what_a_lost_session_leaves() -> None:
    files = {
        file["path"]: file["content"] for file in yaml.safe_load(guestdata.user_data(authorized_key=KEY))["write_files"]
    }

    assert "KillUserProcesses=yes" in files["/etc/systemd/logind.conf.d/50-pcg.conf"]
    assert "ClientAliveInterval 15\nClientAliveCountMax 3" in files["/etc/ssh/sshd_config.d/10-pcg.conf"]


def test_the_network_is_matched_by_the_mac_address_that_only_the_cloud_will_know() -> None:
    text = guestdata.meta_data(instance=INSTANCE, host_name="demo-workers-0")

    instance = yaml.safe_load(text.replace("{mac}", "00:50:56:00:00:01"))

    assert instance["instance-id"] == str(INSTANCE)
    assert instance["local-hostname"] == "demo-workers-0"
    (interface,) = instance["network"]["ethernets"].values()
    assert interface == {"match": {"macaddress": "00:50:56:00:00:01"}, "dhcp4": True, "dhcp-identifier": "mac"}
    assert text.count("{mac}") == 1
    assert json.loads(text)
