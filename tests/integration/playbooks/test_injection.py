"""This file is that text from outside stays text and chooses nothing: not what runs, where, or by which program."""

import ipaddress
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.contract.events import CommandOutcome
from gateway.kit.clock import SystemClock
from gateway.playbooks.ansible import PROJECT, AnsiblePlaybooks
from gateway.playbooks.inventory import PlaybookInputError
from gateway.playbooks.port import Target, TaskSeen
from tests.fakes.wishes import an_apply
from tests.integration.playbooks.machine import SSHD, Machine, machine, processes, with_targets
from tests.unit.provisioning.world import World

PIPE = "{{ lookup('ansible.builtin.pipe', 'id') }}"
TEXTS = [
    PIPE,
    "{{ 6 * 7 }}",
    "{% for x in [1] %}42{% endfor %}",
    "{# gone #}kept",
    "{{ hostvars }}",
    "{{ query('ansible.builtin.env', 'ANSIBLE_CONFIG') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "#jinja2: variable_start_string:'[[', variable_end_string:']]'\n[[ 6 * 7 ]]",
    "@/etc/hostname",
    "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3030",
    "$ANSIBLE_VAULT;1.1;AES256\n3030",
    '{"__ansible_vault": "x"}',
    "!unsafe x",
    "-oProxyCommand=id",
    "--version",
    "$(id) `id` ; id | id && id",
    "a\nb: c\n- d",
    "ansible_connection=local",
    "' \" \\",
]
"""What values from outside may say: templates of every kind, files, vaults, options, shell, lines and quotes."""

LIES = {
    "ansible_connection": "local",
    "ansible_host": "127.0.0.2",
    "ansible_python_interpreter": "/bin/false",
    "discovered_interpreter_python": "/bin/false",
    "ansible_shell_executable": "/bin/false",
    "ansible_become_exe": "/bin/false",
    "ansible_ssh_common_args": "-o ProxyCommand=/bin/false",
    "ansible_ssh_executable": "/bin/false",
    "ansible_remote_tmp": PIPE,
    "pcg_said": PIPE,
    "inventory_hostname": "localhost",
}
"""What a machine that somebody else has taken over may say that it has found out about itself."""


async def ignore(_seen: TaskSeen) -> None:
    """Listen to nothing."""


def liar(directory: Path, stdout: str) -> Path:
    """Return a program that answers everything that is asked of a machine: with templates, and with facts that lie."""
    answer = {"changed": False, "rc": 0, "stdout": stdout, "stderr": PIPE, "msg": PIPE, "ansible_facts": LIES}
    (directory / "answer.json").write_text(json.dumps(answer))
    program = directory / "liar"
    program.write_text(
        "#!/bin/sh\n"
        'printf "%s\\n" "$SSH_ORIGINAL_COMMAND" | grep -o "BECOME-SUCCESS-[a-z]*" | head -n 1\n'
        f'case "$SSH_ORIGINAL_COMMAND" in *python*) cat > /dev/null; cat {directory}/answer.json;; '
        "*) echo 'debian 12';; esac\n"
    )
    program.chmod(0o755)
    return program


@pytest.mark.attack(26)
async def test_no_text_from_outside_is_a_template_wherever_a_playbook_uses_it(
    there: Machine, playbooks: AnsiblePlaybooks
) -> None:
    mine = Target("a", "127.0.0.1", variables={"mine": list(TEXTS)})
    run = with_targets(there.run("use_everywhere", given=list(TEXTS)), mine)

    facts = (await playbooks.run(run, on_task=ignore)).facts["a"]

    for how in ("argued", "read_back", "asserted", "kept", "of_hostvars", "extracted", "through_json"):
        assert facts[how] == TEXTS, how
    assert facts["templated"] == TEXTS
    assert "uid=" not in json.dumps(facts)


@pytest.mark.attack(26)
async def test_what_a_machine_says_is_no_template_and_leads_to_no_other_place_or_program(
    there: Machine, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    async with machine(tmp_path / "taken", instead=liar(tmp_path, PIPE)) as taken:
        playbooks = AnsiblePlaybooks(clock=SystemClock(), project=project, ssh_port=taken.port, reach_within=10)
        facts = (await playbooks.run(taken.run("believe"), on_task=ignore)).facts["demo-workers-0"]

    assert facts["answer"] == facts["later"] == facts["again"] == PIPE, "it still was the machine that was asked"
    assert facts["local"] in (PIPE, "nothing")
    assert facts["connection"] != "local"
    assert "uid=" not in json.dumps(facts)


@pytest.mark.attack(26)
async def test_a_machine_that_was_taken_over_is_prepared_by_our_own_roles_and_runs_nothing_here(tmp_path: Path) -> None:
    """The playbook that is used in earnest, on a machine that answers everything with a template."""
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("needs root and sshd: apt-get install openssh-server")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.deb").write_bytes(b"")
    (tmp_path / "artifacts" / "SHA256SUMS").write_text(f"{'0' * 64}  a.deb\n{PIPE}\n")
    said = json.dumps({"os": PIPE, "kernel": "{{ 6 * 7 }}", PIPE: PIPE})
    (tmp_path / "taken").mkdir()
    async with machine(tmp_path / "taken", instead=liar(tmp_path, said)) as taken:
        playbooks = AnsiblePlaybooks(clock=SystemClock(), project=PROJECT, ssh_port=taken.port, reach_within=10)
        run = taken.run(
            "prepare",
            pcg_artifacts=str(tmp_path / "artifacts"),
            pcg_ssh_authorized_keys=[f"ssh-ed25519 AAAA {PIPE}"],
            pcg_ntp_servers=["10.0.0.1"],
        )
        facts = (await playbooks.run(run, on_task=ignore)).facts["demo-workers-0"]

    assert facts == {"os": PIPE, "kernel": "{{ 6 * 7 }}", PIPE: PIPE}


@pytest.mark.attack(26)
@pytest.mark.parametrize(
    "name",
    [
        *("ansible_connection", "ansible_host", "ansible_user", "ansible_python_interpreter", "ansible_become_exe"),
        *("ansible_shell_executable", "ansible_ssh_common_args", "ansible_ssh_executable", "ansible_port"),
        *("discovered_interpreter_python", "hostvars", "inventory_hostname", "vars", "environment", "omit"),
    ],
)
async def test_a_variable_that_would_choose_place_or_program_starts_nothing(
    there: Machine, playbooks: AnsiblePlaybooks, name: str
) -> None:
    for run in (
        there.run("greet", **{name: "local"}),
        with_targets(there.run("greet"), Target("a", "127.0.0.1", variables={name: "local"})),
    ):
        with pytest.raises(PlaybookInputError):
            await playbooks.run(run, on_task=ignore)
    assert not there.known_hosts.exists(), "nobody was even called"


@pytest.mark.attack(26)
@pytest.mark.parametrize("name", [PIPE, "-oProxyCommand=id", "a\nlocalhost ansible_connection=local"])
async def test_a_machine_that_somebody_gave_a_hostile_name_in_the_cloud_is_refused(tmp_path: Path, name: str) -> None:
    playbooks = AnsiblePlaybooks(clock=SystemClock(), reach_within=0.0)
    world = World(tmp_path, playbooks=playbooks)  # type: ignore[arg-type]
    cluster = uuid4()
    world.cloud.boot_seconds = 0.0
    await world.carry_out(an_apply(cluster))  # nobody answers, so that it fails; its machines are there
    world.cloud.named("demo-workers-0").name = name

    ended = await world.carry_out(an_apply(cluster))

    assert ended.outcome is CommandOutcome.FAILED
    assert ended.problem is not None
    assert ended.problem.code == "playbook.input"


@pytest.mark.attack(27)
@pytest.mark.parametrize(
    "text",
    [
        *("-oProxyCommand=id", "-h", "--", "a b", "a\nProxyCommand id", "a\r", "a\0", "$(id)", "a;id", "root@a", "a,b"),
        *("127.0.0.1\n-oProxyCommand=id", "127.0.0.1 -oProxyCommand=id", "::1%eth0;id", "%h", "[::1]"),
    ],
)
async def test_no_name_user_or_address_becomes_an_option_of_ssh(
    there: Machine, playbooks: AnsiblePlaybooks, text: str
) -> None:
    for run in (
        with_targets(there.run("greet"), Target(text, "127.0.0.1")),
        with_targets(there.run("greet"), Target("a", text)),
        replace(there.run("greet"), user=text),
        replace(there.run("greet"), playbook=text),
    ):
        with pytest.raises(PlaybookInputError):
            await playbooks.run(run, on_task=ignore)
    assert not there.known_hosts.exists(), "nobody was even called"


@pytest.mark.attack(27)
async def test_arguments_that_look_like_options_reach_the_program_as_they_are(
    there: Machine, playbooks: AnsiblePlaybooks
) -> None:
    given = ["-n", "--help", "-e", "@/etc/passwd", "a\nb", "", " "]
    run = with_targets(there.run("use_everywhere", given=list(given)), Target("a", "127.0.0.1", variables={"mine": []}))

    facts = (await playbooks.run(run, on_task=ignore)).facts["a"]

    assert facts["argued"] == given


@pytest.mark.attack(27)
async def test_what_the_appliance_was_started_with_reaches_neither_ansible_nor_ssh(
    there: Machine, playbooks: AnsiblePlaybooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could set the appliance's environment would otherwise load code into what holds the SSH keys."""
    hostile = {
        name: f"open-sesame-{at}"
        for at, name in enumerate(
            [
                *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "PYTHONPATH", "PYTHONSTARTUP"),
                *("PYTHONHOME", "BASH_ENV", "ENV", "SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_SSH_COMMAND"),
                *("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy"),
                *("ANSIBLE_CONFIG_FILE", "ANSIBLE_LIBRARY", "ANSIBLE_VARS_PLUGINS", "ANSIBLE_VARS_ENABLED"),
                *("ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CONNECTION_PLUGINS", "ANSIBLE_SSH_EXTRA_ARGS"),
                *("ANSIBLE_TRANSPORT", "ANSIBLE_REMOTE_USER", "ANSIBLE_EXECUTABLE", "RUNNER_PLAYBOOK"),
            ]
        )
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)

    facts = (await playbooks.run(there.run("look_around", given=str(tmp_path)), on_task=ignore)).facts["demo-workers-0"]

    seen = str(facts["readable"])
    assert "ANSIBLE_CONFIG" in seen, "it did look"
    assert [value for value in hostile.values() if value in seen] == []
    assert processes(saying="open-sesame") == []


@pytest.mark.attack(27)
async def test_a_configuration_in_the_home_or_beside_the_appliance_is_not_read(
    there: Machine, playbooks: AnsiblePlaybooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "config").write_text("Host *\n  ProxyCommand /bin/false\n")
    for place in (tmp_path / "home" / ".ansible.cfg", tmp_path / "ansible.cfg"):
        place.write_text("[defaults]\ntransport = local\nremote_user = nobody\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    facts = (await playbooks.run(there.run("greet", given="hello"), on_task=ignore)).facts["demo-workers-0"]

    assert facts["echoed"] == "hello"
    assert str(ipaddress.ip_address(str(facts["address"]))) == "127.0.0.1"
    assert there.known_hosts.read_text().startswith("demo-workers-0 "), "it was reached by ssh"
    shutil.rmtree(tmp_path / "home")
