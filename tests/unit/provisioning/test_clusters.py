"""This file is the promises of the road of a cluster, on a cloud in memory."""

from pathlib import Path
from uuid import uuid4

import pytest

from gateway.contract.clusters import MachinePhase
from gateway.contract.commands import ApplyCluster
from gateway.contract.events import CommandOutcome, MachineSeen, StepBegan
from gateway.playbooks.port import PlaybookUnreachableError
from tests.fakes.cloud import folder_of
from tests.fakes.wishes import a_cluster, a_command, a_delete, a_read, an_apply
from tests.unit.provisioning.world import World

THREE = ["demo-cp-0", "demo-workers-0", "demo-workers-1"]


async def test_a_cluster_comes_up_with_exactly_the_wished_machines(tmp_path: Path) -> None:
    world = World(tmp_path)
    ended = await world.carry_out(an_apply())
    assert ended.outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == THREE
    assert [target.name for target in world.playbooks.runs[0].targets] == THREE


async def test_every_machine_is_reported_as_prepared_with_its_address_and_facts(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.carry_out(an_apply())
    seen = [event.body.machine for event in await world.events() if isinstance(event.body, MachineSeen)]
    last = {machine.name: machine for machine in seen}
    assert sorted(last) == THREE
    for machine in last.values():
        assert machine.phase is MachinePhase.PREPARED
        assert machine.address
        assert machine.facts is not None
        assert machine.facts.os == "Debian"


async def test_the_same_wish_again_clones_nothing(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    again = an_apply(cluster)
    assert (await world.carry_out(again)).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.clones_begun == 3


async def test_a_pool_grows_and_shrinks_from_its_end(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    await world.carry_out(an_apply(cluster, a_cluster(workers=4)))
    assert world.cloud.names() == [*THREE, "demo-workers-2", "demo-workers-3"]
    await world.carry_out(an_apply(cluster, a_cluster(workers=1)))
    assert world.cloud.names() == THREE[:2]
    assert world.cloud.clones_begun == 5


async def test_a_machine_removed_by_hand_is_made_again_by_the_next_apply(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    world.cloud.vanish("demo-workers-0")
    await world.carry_out(an_apply(cluster))
    assert world.cloud.names() == THREE


async def test_a_changed_size_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    ended = await world.carry_out(an_apply(cluster, a_cluster(cpus=8)))
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert ended.problem.code == "plan.cannot_change"
    assert world.cloud.names() == THREE


async def test_a_wrong_password_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cloud.sign_in_refused = True
    ended = await world.carry_out(an_apply())
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert ended.problem.code == "cloud.sign_in"
    assert (world.cloud.machines, world.cloud.folders) == ({}, set())


async def test_a_template_that_is_not_there_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    world = World(tmp_path)
    spec = a_cluster()
    missing = spec.model_copy(update={"cloud": spec.cloud.model_copy(update={"template": "debian-99"})})
    ended = await world.carry_out(an_apply(spec=missing))
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert "debian-99" in ended.problem.message
    assert (world.cloud.machines, world.cloud.folders) == ({}, set())
    assert not list((tmp_path / "clusters").glob("*"))


async def test_missing_packages_are_told_before_a_machine_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(world, "artifacts", lambda: tmp_path / "nowhere")
    ended = await world.carry_out(an_apply())
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert ended.problem.code == "appliance.artifacts_missing"
    assert world.cloud.machines == {}


async def test_a_failed_clone_fails_the_command_and_the_same_wish_goes_on_from_there(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    world.cloud.failing_clones = {2}
    assert (await world.carry_out(an_apply(cluster))).outcome is CommandOutcome.FAILED
    assert (await world.carry_out(an_apply(cluster))).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == THREE


async def test_a_machine_that_ansible_cannot_reach_fails_the_command_by_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.playbooks.fails = PlaybookUnreachableError("machine demo-cp-0 does not answer")
    ended = await world.carry_out(an_apply())
    assert ended.outcome is CommandOutcome.FAILED
    assert ended.problem is not None
    assert ended.problem.code == "playbook.unreachable"


async def test_delete_removes_machines_folder_and_keys_and_nobody_elses(tmp_path: Path) -> None:
    world, cluster, other = World(tmp_path), uuid4(), uuid4()
    await world.carry_out(an_apply(cluster))
    await world.carry_out(an_apply(other, a_cluster("other", workers=0)))
    assert (await world.carry_out(a_delete(cluster))).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.names() == ["other-cp-0"]
    assert world.cloud.folders == {folder_of(other, "other")}
    assert [path.name for path in (tmp_path / "clusters").iterdir()] == [str(other)]


async def test_delete_needs_no_template(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    world.cloud.templates = set()
    assert (await world.carry_out(a_delete(cluster))).outcome is CommandOutcome.SUCCEEDED
    assert world.cloud.machines == {}


async def test_delete_of_what_is_not_there_succeeds(tmp_path: Path) -> None:
    assert (await World(tmp_path).carry_out(a_delete(uuid4()))).outcome is CommandOutcome.SUCCEEDED


async def test_a_new_cluster_of_an_old_name_has_new_machines(tmp_path: Path) -> None:
    world, first, second = World(tmp_path), uuid4(), uuid4()
    await world.carry_out(an_apply(first))
    before = {machine.instance_uuid for machine in world.cloud.machines.values()}
    await world.carry_out(a_delete(first))
    await world.carry_out(an_apply(second))
    assert before.isdisjoint(machine.instance_uuid for machine in world.cloud.machines.values())


async def test_a_machine_made_again_may_have_another_host_key(tmp_path: Path) -> None:
    world, cluster = World(tmp_path), uuid4()
    await world.carry_out(an_apply(cluster))
    known = tmp_path / "clusters" / str(cluster) / "known_hosts"
    known.write_text("demo-workers-1 ssh-ed25519 AAAA\ndemo-workers-0 ssh-ed25519 BBBB\n")
    world.cloud.vanish("demo-workers-1")
    await world.carry_out(an_apply(cluster))
    assert known.read_text() == "demo-workers-0 ssh-ed25519 BBBB\n"


async def test_the_inventory_is_the_result_of_reading_it(tmp_path: Path) -> None:
    ended = await World(tmp_path).carry_out(a_read())
    assert ended.inventory is not None
    assert [template.name for template in ended.inventory.templates] == ["debian-12"]


async def test_no_private_key_is_in_what_the_guest_can_show(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.carry_out(an_apply())
    for machine in world.cloud.machines.values():
        assert "PRIVATE" not in machine.guest_userdata + (machine.guest_metadata or "")
        assert "ssh-ed25519 " in machine.guest_userdata


async def test_machines_are_cloned_side_by_side(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.carry_out(a_command(ApplyCluster(cluster_id=uuid4(), spec=a_cluster(workers=5))))
    steps = [e.body.step for e in await world.events() if isinstance(e.body, StepBegan)]
    clones = [index for index, step in enumerate(steps) if step.endswith("/clone")]
    first_power_on = next(index for index, step in enumerate(steps) if step.endswith("/power-on"))
    assert len([index for index in clones if index < first_power_on]) >= 2
