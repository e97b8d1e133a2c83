"""This file is the promises of the judge: what is allowed, what waits, what is refused, and that it says why."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.appliance.policy import judging
from gateway.appliance.policy.judging import Outcome, Situation, judge, judge_pack, judge_stream
from gateway.appliance.policy.quotas import Usage
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster
from gateway.contract.policy import CLASS_OF, DestroyNeeds, Policy, Profile, Tightening, Window, every_kind
from tests.fakes.wishes import a_cluster, a_command, a_delete, a_read, an_apply
from tests.unit.appliance.policy.policies import (
    CLUSTERS,
    KEYS,
    NOW,
    a_policy,
    a_wish,
    applied,
    commands,
    policies,
    situation,
    situations,
    tightenings,
    wishes,
)

KINDS = {
    "inventory.read": a_read(),
    "cluster.plan": a_command(PlanCluster(of=ApplyCluster(cluster_id=uuid4(), spec=a_cluster()))),
    "cluster.apply": an_apply(),
    "cluster.delete": a_delete(uuid4()),
}
ALLOWED, WAITS, REFUSED = Outcome.ALLOWED, Outcome.WAITS, Outcome.REFUSED
RANK = {ALLOWED: 0, WAITS: 1, REFUSED: 2}


def verdict_on(command: Command, policy: Policy, **more: object) -> Outcome:
    return judge(policy, None, command, situation(**more)).outcome  # type: ignore[arg-type]


def against(command: Command, policy: Policy, usage: Usage | None = None) -> list[str]:
    return [rule.name for rule in judge(policy, None, command, situation(usage)).against]


def test_every_kind_of_command_has_a_class() -> None:
    assert set(every_kind()) == set(CLASS_OF)


@pytest.mark.parametrize(
    ("profile", "allowed"),
    [
        (Profile.OBSERVE, {"inventory.read", "cluster.plan"}),
        (Profile.PROVISION, {"inventory.read", "cluster.plan", "cluster.apply"}),
        (Profile.OPERATE, set(KINDS)),
        (Profile.CUSTOM, set()),
    ],
)
def test_each_profile_allows_its_kinds_and_no_other(profile: Profile, allowed: set[str]) -> None:
    found = {kind for kind, command in KINDS.items() if verdict_on(command, a_policy(profile)) is ALLOWED}
    assert found == allowed


@pytest.mark.parametrize(
    ("profile", "outcome"),
    [
        (Profile.OBSERVE, REFUSED),
        (Profile.PROVISION, ALLOWED),
        (Profile.OPERATE, ALLOWED),
        (Profile.CUSTOM, REFUSED),
    ],
)
def test_each_profile_has_streams_or_none(profile: Profile, outcome: Outcome) -> None:
    assert judge_stream(a_policy(profile), None, target="web", lane="auto").outcome is outcome


def test_a_custom_policy_allows_what_it_lists() -> None:
    policy = a_policy(Profile.CUSTOM, commands={"allow": ["read", "cluster.apply"]}, targets={"allow": ["web*"]})
    assert [verdict_on(command, policy) for command in KINDS.values()] == [ALLOWED, ALLOWED, ALLOWED, REFUSED]
    assert judge_stream(policy, None, target="web-1", lane="bulk").outcome is ALLOWED
    assert judge_stream(policy, None, target="ssh", lane="bulk").outcome is REFUSED


def test_what_is_denied_is_refused_though_it_is_allowed() -> None:
    policy = a_policy(commands={"allow": ["read", "change"], "deny": ["cluster.apply"]})
    assert against(an_apply(), policy) == ["commands.deny"]


def test_an_apply_that_removes_machines_destroys() -> None:
    large, small = an_apply(CLUSTERS[0], a_wish(workers=3)), an_apply(CLUSTERS[0], a_wish(workers=1))
    usage = applied(Usage(), large)
    assert verdict_on(large, a_policy(Profile.PROVISION), usage=usage) is ALLOWED
    assert verdict_on(small, a_policy(Profile.PROVISION), usage=usage) is REFUSED
    needs = a_policy(destroy={"needs": "approval"})
    assert verdict_on(small, needs, usage=usage) is WAITS
    assert verdict_on(small, needs, usage=usage, is_approved=True) is ALLOWED


def test_a_cluster_does_not_shrink_by_naming_its_datacenter_another_way() -> None:
    usage = applied(Usage(), an_apply(CLUSTERS[0], a_wish(workers=3)))
    small = an_apply(CLUSTERS[0], a_wish(workers=0, datacenter="main"))
    assert verdict_on(small, a_policy(Profile.PROVISION), usage=usage) is REFUSED


def test_to_name_a_kind_does_not_allow_it_to_destroy_as_well() -> None:
    usage = applied(Usage(), an_apply(CLUSTERS[0], a_wish(workers=3)))
    small = an_apply(CLUSTERS[0], a_wish(workers=0))
    listed = a_policy(Profile.CUSTOM, commands={"allow": ["cluster.apply"]})
    assert against(small, listed, usage) == ["commands.allow"]
    both = a_policy(Profile.CUSTOM, commands={"allow": ["cluster.apply", "destroy"]})
    assert verdict_on(small, both, usage=usage) is ALLOWED


@pytest.mark.parametrize(
    ("bound", "cloud", "expected"),
    [
        ({"accounts": ["main"]}, {}, ["vsphere.accounts"]),
        ({"accounts": ["la?"]}, {}, []),
        ({"templates": ["ubuntu-*"]}, {}, ["vsphere.templates"]),
        ({"templates": ["debian-*"]}, {}, []),
        ({"networks": ["vlan-7"]}, {}, ["vsphere.networks"]),
        ({"networks": ["vlan-7"]}, {"network": "vlan-7"}, []),
        ({"networks": ["vlan-7"]}, {"network": "VLAN-7"}, ["vsphere.networks"]),
        ({"folders": ["k8s/*"]}, {"folder": "k8s/demo"}, []),
        ({"datastores": []}, {"datastore": "ssd"}, ["vsphere.datastores"]),
        (
            {"datacenters": ["a"], "compute_clusters": ["b"], "resource_pools": ["c"]},
            {"datacenter": "a", "compute_cluster": "x", "resource_pool": "c"},
            ["vsphere.compute_clusters"],
        ),
    ],
)
def test_objects_of_vsphere_are_bounded_by_name(
    bound: dict[str, list[str]], cloud: dict[str, str], expected: list[str]
) -> None:
    assert against(an_apply(spec=a_wish(**cloud)), a_policy(vsphere=bound)) == expected


@given(policy=policies, here=situations, task=wishes)
def test_a_plan_may_look_where_the_command_it_plans_may_act_and_nowhere_else(
    policy: Policy, here: Situation, task: ApplyCluster | DeleteCluster
) -> None:
    def places(command: Command) -> list[tuple[str, Outcome]]:
        rules = judge(policy, None, command, here).rules
        return [(rule.name, rule.outcome) for rule in rules if rule.name.startswith("vsphere.")]

    assert places(a_command(PlanCluster(of=task))) == places(a_command(task))


def test_what_is_bounded_has_to_be_named_and_the_rule_says_so() -> None:
    verdict = judge(a_policy(vsphere={"networks": ["vlan-7"]}), None, an_apply(), situation())
    assert "say which network" in verdict.against[0].reason


def test_a_cluster_is_deleted_whatever_it_was_made_of() -> None:
    policy = a_policy(vsphere={"templates": ["other"], "networks": ["other"]})
    assert verdict_on(a_delete(uuid4()), policy) is ALLOWED
    assert verdict_on(a_delete(uuid4()), a_policy(vsphere={"accounts": ["other"]})) is REFUSED


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ({"machines": 3}, []),
        ({"machines": 2}, ["quotas.at_a_time.machines"]),
        ({"cpus": 5, "memory_gib": 5}, ["quotas.at_a_time.cpus", "quotas.at_a_time.memory_gib"]),
        ({"disk_gib": 89}, ["quotas.at_a_time.disk_gib"]),
        ({"disk_gib": 90}, []),
    ],
)
def test_quotas_count_what_a_wish_would_make(quota: dict[str, int], expected: list[str]) -> None:
    policy = a_policy(quotas={"at_a_time": quota, "machine_disk_gib": 30})
    assert against(an_apply(), policy) == expected


def test_a_quota_that_is_full_refuses_the_next_cluster_and_neither_the_same_wish_again_nor_its_deletion() -> None:
    policy, first = a_policy(quotas={"at_a_time": {"machines": 3}}), an_apply(CLUSTERS[0])
    usage = applied(Usage(), first)
    assert verdict_on(an_apply(CLUSTERS[1]), policy, usage=usage) is REFUSED
    assert verdict_on(an_apply(CLUSTERS[0]), policy, usage=usage) is ALLOWED
    assert verdict_on(a_delete(CLUSTERS[0]), policy, usage=usage) is ALLOWED


def test_a_daily_quota_is_free_again_after_a_day_and_one_in_total_never() -> None:
    usage, next_one = applied(Usage(), an_apply(CLUSTERS[0])), an_apply(CLUSTERS[1])
    daily, total = ({"quotas": {span: {"machines": 3}}} for span in ("per_day", "in_total"))
    soon, later = NOW + timedelta(hours=23), NOW + timedelta(hours=24)
    assert verdict_on(next_one, a_policy(**daily), usage=usage, now=soon) is REFUSED
    assert verdict_on(next_one, a_policy(**daily), usage=usage, now=later) is ALLOWED
    assert verdict_on(next_one, a_policy(**total), usage=usage, now=later) is REFUSED


@pytest.mark.parametrize(
    ("window", "when", "inside"),
    [
        ({"opens": "07:00", "closes": "19:00"}, "2026-11-21 07:00", True),
        ({"opens": "07:00", "closes": "19:00"}, "2026-11-21 18:59", True),
        ({"opens": "07:00", "closes": "19:00"}, "2026-11-21 19:00", False),
        ({"opens": "07:00", "closes": "19:00", "days": ["mon"]}, "2026-11-21 12:00", False),
        ({"opens": "22:00", "closes": "06:00", "days": ["fri"]}, "2026-11-21 05:59", True),
        ({"opens": "22:00", "closes": "06:00", "days": ["sat"]}, "2026-11-21 05:59", False),
        ({"opens": "22:00", "closes": "06:00", "days": ["sun"]}, "2026-11-23 01:00", True),
        ({"days": ["sat"]}, "2026-11-21 23:59", True),
        ({"days": ["sat"]}, "2026-11-22 00:00", False),
    ],
)
def test_hours_are_open_from_one_minute_to_another_and_across_midnight(
    window: dict[str, object], when: str, inside: bool
) -> None:
    there = datetime.fromisoformat(when).replace(tzinfo=UTC)
    assert judging.is_inside(Window.model_validate(window), there) is inside


def test_hours_are_those_of_the_sites_own_time_zone_and_do_not_hold_reading() -> None:
    policy = a_policy(hours={"time_zone": "Asia/Tokyo", "windows": [{"opens": "08:00", "closes": "12:00"}]})
    night_here = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
    assert verdict_on(an_apply(), policy, now=night_here) is ALLOWED
    assert verdict_on(an_apply(), policy, now=NOW) is REFUSED
    assert verdict_on(a_read(), policy, now=NOW) is ALLOWED


def test_a_paused_site_lets_everything_wait() -> None:
    assert verdict_on(a_read(), a_policy(), is_paused=True) is WAITS
    assert verdict_on(a_read(), a_policy(commands={"deny": ["read"]}), is_paused=True) is REFUSED


@pytest.mark.attack(22)
def test_to_destroy_needs_the_sites_own_signatures_and_no_others() -> None:
    policy = a_policy(destroy={"needs": DestroyNeeds.SIGNATURE, "keys": KEYS, "signatures": 2})
    delete = a_delete(uuid4())
    assert verdict_on(delete, policy) is WAITS
    assert verdict_on(delete, policy, is_approved=True) is WAITS
    assert verdict_on(delete, policy, signers=frozenset({KEYS["alice"], "C" * 43})) is WAITS
    assert verdict_on(delete, policy, signers=frozenset(KEYS.values())) is ALLOWED
    assert verdict_on(an_apply(), policy) is ALLOWED


@pytest.mark.attack(22)
def test_two_names_for_one_key_are_one_signature() -> None:
    keys = {"alice": "A" * 43, "alias": "A" * 43, "bob": "B" * 43}
    policy = a_policy(destroy={"needs": DestroyNeeds.SIGNATURE, "keys": keys, "signatures": 2})
    assert verdict_on(a_delete(uuid4()), policy, signers=frozenset({"A" * 43})) is WAITS


@pytest.mark.attack(22)
def test_packs_of_unknown_publishers_are_refused() -> None:
    policy = a_policy(publishers=["a" * 64])
    assert judge_pack(policy, None, publisher="b" * 64).outcome is REFUSED
    assert judge_pack(policy, None, publisher="a" * 64).outcome is ALLOWED
    assert judge_pack(policy, Tightening(publishers=()), publisher="a" * 64).outcome is REFUSED


@pytest.mark.attack(22)
@given(policy=policies, tightening=tightenings, command=commands, here=situations)
def test_a_tightening_never_allows_what_the_sites_policy_does_not(
    policy: Policy, tightening: Tightening, command: Command, here: Situation
) -> None:
    alone, both = judge(policy, None, command, here), judge(policy, tightening, command, here)
    assert RANK[both.outcome] >= RANK[alone.outcome]
    assert both.rules[: len(alone.rules)] == alone.rules


@pytest.mark.attack(22)
@given(policy=policies, tightening=tightenings, target=st.sampled_from(["main", "lab"]), lane=st.sampled_from(["bulk"]))
def test_a_tightening_never_opens_a_target(policy: Policy, tightening: Tightening, target: str, lane: str) -> None:
    alone = judge_stream(policy, None, target=target, lane=lane).outcome
    assert RANK[judge_stream(policy, tightening, target=target, lane=lane).outcome] >= RANK[alone]


@given(tightening=tightenings, command=commands, here=situations)
def test_a_tightening_holds_whatever_the_sites_policy_allows(
    tightening: Tightening, command: Command, here: Situation
) -> None:
    as_policy = Policy.model_validate({**tightening.model_dump(exclude={"destroy"}), "profile": "operate"})
    narrowed = judge(a_policy(), tightening, command, here)
    assert RANK[narrowed.outcome] >= RANK[judge(as_policy, None, command, here).outcome]


@given(policy=policies, command=commands, here=situations)
def test_the_worst_rule_decides_and_every_rule_says_why(policy: Policy, command: Command, here: Situation) -> None:
    verdict = judge(policy, None, command, here)
    assert RANK[verdict.outcome] == max(RANK[rule.outcome] for rule in verdict.rules)
    assert all(rule.reason for rule in verdict.rules)


@given(name=st.text(alphabet="ab*?", max_size=6), pattern=st.text(alphabet="ab*?", max_size=6))
@example("a" * 200, "*a" * 100 + "b")
def test_patterns_fit_as_they_are_defined(name: str, pattern: str) -> None:
    assert judging.fits(name, pattern) is (False if len(name) == 200 else _fits(name, pattern))


def _fits(name: str, pattern: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_fits(name[at:], pattern[1:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] in {"?", name[0]} and _fits(name[1:], pattern[1:])
