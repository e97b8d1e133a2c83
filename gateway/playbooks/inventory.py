"""This file is how a run becomes Ansible's inventory and variables: outside values as data, never as templates.

Ansible evaluates `{{ … }}` in every string of an inventory or a variables file that it trusts. Each string
that came from outside is therefore wrapped as `{"__ansible_unsafe": …}`, Ansible's own JSON form of a string
that is never a template. Names, which end up as keys and in ssh's options, are held to a narrow grammar instead.
"""

import ipaddress
import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from gateway.kit.errors import GatewayError, Remedy
from gateway.playbooks.port import PlaybookRun, Target

NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
PLAYBOOK = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)

OWN_PREFIXES = ("ansible_", "discovered_", "with_")
RESERVED_NAMES = frozenset(  # keywords, magic variables and template globals; a test holds it against Ansible's
    "action always any_errors_fatal args argument_spec async async_val attributes become become_exe become_flags "  # noqa: SIM905
    "become_method become_user block changed_when check_mode collections connection cycler debugger delay "
    "delegate_facts delegate_to dict diff environment fact_path failed_when finalize force_handlers gather_facts "
    "gather_subset gather_timeout group_names groups handlers hosts hostvars ignore_errors ignore_unreachable "
    "import_playbook include_role inventory_dir inventory_file inventory_hostname inventory_hostname_short joiner "
    "lipsum listen local_action lookup loop loop_control loop_with max_fail_percentage max_retries "
    "module_defaults name namespace no_log notify now omit order pcg_facts play_hosts playbook_dir poll port "
    "post_tasks pre_tasks q query range register remote_user rescue retries role role_name role_names role_path "
    "roles run_once serial steps strategy tags tasks throttle timeout undef until validate_argspec vars "
    "vars_files vars_prompt when".split()
)
RESERVED_HOSTS = frozenset({"all", "ungrouped", "localhost"})

SIZE_LIMIT = 1024 * 1024
DEPTH_LIMIT = 20
FORKS_LIMIT = 50


class PlaybookInputError(GatewayError):
    """A name, an address or a variable is not one that may be handed to Ansible."""

    code = "playbook.input"
    remedy = Remedy.CALLER


def check(run: PlaybookRun) -> None:
    """Raise PlaybookInputError for the first thing in `run` that may not be handed to Ansible."""
    _must_match(PLAYBOOK, run.playbook, what="a playbook's name")
    _must_match(USER, run.user, what="a user's name")
    if not run.targets:
        raise PlaybookInputError("a playbook needs at least one machine to run on")
    names = [target.name for target in run.targets]
    for name in names:
        _must_match(NAME, name, what="a machine's name")
        if name in RESERVED_HOSTS or names.count(name) > 1:
            raise PlaybookInputError(f"the machine name {name!r} is reserved or there twice: choose another", name=name)
    for target in run.targets:
        _check_address(target)
        _check_variables(target.variables)
    _check_variables(run.variables)


def inventory(run: PlaybookRun, *, port: int) -> str:
    """Return the inventory of the run's targets as JSON, which Ansible's yaml inventory plugin reads."""
    hosts = {target.name: _host(target) for target in run.targets}
    shared = {"ansible_user": unsafe(run.user), "ansible_port": port}
    return json.dumps({"all": {"hosts": hosts, "vars": shared}})


def variables(run: PlaybookRun) -> str:
    """Return the run's variables as JSON for a variables file."""
    text = json.dumps({name: unsafe(value) for name, value in run.variables.items()})
    if len(text) > SIZE_LIMIT:
        raise PlaybookInputError(f"the variables take {len(text)} bytes as JSON, {SIZE_LIMIT} is the limit")
    return text


def unsafe(value: JsonValue, *, depth: int = DEPTH_LIMIT) -> JsonValue:
    """Return `value` with every string in it, keys excepted, in the form that Ansible never evaluates."""
    if depth == 0:
        raise PlaybookInputError(f"a variable is nested deeper than {DEPTH_LIMIT} levels")
    match value:
        case str():
            return {"__ansible_unsafe": value}
        case list():
            return [unsafe(one, depth=depth - 1) for one in value]
        case dict():
            return {_key(name): unsafe(one, depth=depth - 1) for name, one in value.items()}
        case _:
            return value


def _host(target: Target) -> JsonValue:
    given = {name: unsafe(value) for name, value in target.variables.items()}
    # ssh files the host key under the machine's name: an address may be given to another machine later.
    own: dict[str, JsonValue] = {
        "ansible_host": unsafe(target.address),
        "ansible_ssh_extra_args": f"-o HostKeyAlias={target.name}",
    }
    return {**given, **own}


def _key(name: str) -> str:
    # Ansible's decoder gives meaning to keys such as __ansible_vault, and its templates to braces.
    if name.startswith("__ansible") or re.search(r"\{[{%#]", name):
        raise PlaybookInputError(f"the key {name[:60]!r} in a variable has a meaning to Ansible: rename it")
    return name


def _must_match(grammar: re.Pattern[str], text: str, *, what: str) -> None:
    if not grammar.fullmatch(text):
        raise PlaybookInputError(f"{text[:60]!r} cannot be {what}: it does not match {grammar.pattern}")


def _check_address(target: Target) -> None:
    try:
        ipaddress.ip_address(target.address.replace("%", "!"))  # no zone: it may hold any text
    except ValueError:
        _must_match(NAME, target.address, what=f"the address of {target.name}")


def _check_variables(given: Mapping[str, JsonValue]) -> None:
    for name in given:
        _must_match(VARIABLE, name, what="a variable's name")
        if name.startswith(OWN_PREFIXES) or name in RESERVED_NAMES:
            raise PlaybookInputError(f"the variable {name!r} has a meaning to Ansible: rename it", variable=name)
