"""This file is what may reach Ansible, and in which shape."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.vars.reserved import get_reserved_names
from hypothesis import given
from hypothesis import strategies as some

from gateway.playbooks import inventory
from gateway.playbooks.inventory import PlaybookInputError
from gateway.playbooks.port import PlaybookRun, Target

TEMPLATE = "{{ lookup('pipe','id') }}"
RUN = PlaybookRun(
    playbook="prepare",
    targets=[Target("demo-workers-0", "10.0.0.7")],
    user="pcg",
    ssh_key=Path("/key"),
    known_hosts=Path("/known_hosts"),
)


def strings_in(value: object) -> list[str]:
    """Return every string that Ansible would take for a template if it were one."""
    match value:
        case {"__ansible_unsafe": _}:
            return []
        case dict():
            return [text for one in value.values() for text in strings_in(one)]
        case list():
            return [text for one in value for text in strings_in(one)]
        case str():
            return [value]
    return []


def test_an_honest_run_passes() -> None:
    inventory.check(RUN)


@pytest.mark.attack(26)
@pytest.mark.parametrize("name", [TEMPLATE, "{{x}}", "a{{x}}", "all", "localhost", "ungrouped", "web[1:9]", "a:b", ""])
def test_a_machine_whose_name_ansible_would_interpret_is_refused(name: str) -> None:
    with pytest.raises(PlaybookInputError) as caught:
        inventory.check(replace(RUN, targets=[Target(name, "10.0.0.7")]))

    assert caught.value.code == "playbook.input"


@pytest.mark.attack(27)
@pytest.mark.parametrize(
    "text", ["-oProxyCommand=id", "-h", "a b", "a\nb", "a\0b", "a;id", "$(id)", "a\n", "a@b", "x" * 300]
)
def test_names_and_addresses_that_could_become_options_are_refused(text: str) -> None:
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, targets=[Target(text, "10.0.0.7")]))
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, targets=[Target("demo-workers-0", text)]))
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, user=text))
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, playbook=text))


@pytest.mark.attack(26)
@pytest.mark.parametrize("address", [TEMPLATE, "{{x}}", "1.2.3.4,5.6.7.8", "[::1]", "fe80::1%eth0;id"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, targets=[Target("demo-workers-0", address)]))


@pytest.mark.parametrize("address", ["10.0.0.7", "2001:db8::7", "m-0.example.org"])
def test_addresses_of_every_kind_pass(address: str) -> None:
    inventory.check(replace(RUN, targets=[Target("demo-workers-0", address)]))


@pytest.mark.parametrize("playbook", ["../../etc/passwd", "/etc/passwd", "a/b", "prepare.yml"])
def test_a_playbook_cannot_be_taken_from_elsewhere(playbook: str) -> None:
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, playbook=playbook))


@pytest.mark.attack(26)
@pytest.mark.parametrize(
    "name",
    [
        *("ansible_connection", "ansible_python_interpreter", "ansible_shell_executable", "ansible_become_exe"),
        *("hostvars", "inventory_hostname", "with_items", "discovered_interpreter_python", "pcg_facts"),
        *("Upper", "a-b", TEMPLATE, ""),
    ],
)
def test_a_variable_that_means_something_to_ansible_is_refused(name: str) -> None:
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, variables={name: "local"}))
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, targets=[Target("demo-workers-0", "10.0.0.7", variables={name: "local"})]))


def test_every_name_that_this_version_of_ansible_reserves_is_refused() -> None:
    for name in get_reserved_names():
        with pytest.raises(PlaybookInputError):
            inventory.check(replace(RUN, variables={name: 1}))


def test_two_machines_of_one_name_are_refused() -> None:
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, targets=RUN.targets * 2))


def test_a_run_on_no_machine_is_refused() -> None:
    with pytest.raises(PlaybookInputError):
        inventory.check(replace(RUN, targets=[]))


@pytest.mark.attack(26)
@pytest.mark.parametrize("key", ["__ansible_vault", "__ansible_unsafe", "{{ x }}", "{% raw %}"])
def test_a_nested_key_that_means_something_to_ansible_is_refused(key: str) -> None:
    with pytest.raises(PlaybookInputError):
        inventory.variables(replace(RUN, variables={"labels": [{key: "x"}]}))


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text("abc/.-"), inner, max_size=3),
    max_leaves=20,
)


@given(value=JSON)
def test_no_string_of_a_variable_is_ever_a_template_and_none_is_lost(value: object) -> None:
    run = replace(RUN, variables={"given": value}, targets=[Target("m", "10.0.0.7", variables={"given": value})])

    shared = json.loads(inventory.variables(run))["given"]
    hosted = json.loads(inventory.inventory(run, port=22))["all"]["hosts"]["m"]["given"]

    assert strings_in(shared) == []
    assert shared == hosted
    assert opened(shared) == value


def opened(value: object) -> object:
    """Undo what was done to make strings unsafe."""
    match value:
        case {"__ansible_unsafe": text}:
            return text
        case dict():
            return {key: opened(one) for key, one in value.items()}
        case list():
            return [opened(one) for one in value]
    return value


def test_a_host_key_is_filed_under_the_machines_name() -> None:
    host = json.loads(inventory.inventory(RUN, port=22))["all"]["hosts"]["demo-workers-0"]

    assert host["ansible_ssh_extra_args"] == "-o HostKeyAlias=demo-workers-0"


def test_variables_without_end_are_refused() -> None:
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    with pytest.raises(PlaybookInputError):
        inventory.variables(replace(RUN, variables={"deep": deep}))
    with pytest.raises(PlaybookInputError):
        inventory.variables(replace(RUN, variables={"long": "x" * 2_000_000}))
