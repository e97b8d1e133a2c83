"""This file is the main road: a cluster comes up on real parts, grows, shrinks, and goes."""

import json
from typing import Any

from gateway.lab import site
from gateway.lab.site import Site
from tests.e2e import observing


async def test_a_cluster_comes_up_side_by_side_shrinks_grows_and_goes(place: Site) -> None:
    path = observing.write_cluster(place, "road", workers=2)
    answer = await place.pcg("cluster", "apply", "-f", path, "--output", "json")
    assert answer.code == 0, answer.err
    *events, last = [json.loads(line) for line in answer.out.splitlines()]
    check_side_by_side([event["body"] for event in events])
    assert (last["name"], last["phase"]) == ("road", "ready")
    assert observing.vms(place, "road") == ["road-control-plane-0", "road-workers-0", "road-workers-1"]
    view = await observing.cluster(place, "road")
    assert view["phase"] == "ready"
    for machine in view["machines"]:
        assert machine["phase"] == "prepared"
        assert machine["facts"]["swap_off"] is True
        assert machine["facts"]["container_runtime"].startswith("containerd")

    answer = await observing.applying(place, observing.write_cluster(place, "road", workers=0))
    assert answer.code == 0, answer.err
    assert observing.vms(place, "road") == ["road-control-plane-0"]
    assert [one["name"] for one in (await observing.cluster(place, "road"))["machines"]] == ["road-control-plane-0"]

    answer = await observing.applying(place, observing.write_cluster(place, "road", workers=1))
    assert answer.code == 0, answer.err
    assert observing.vms(place, "road") == ["road-control-plane-0", "road-workers-0"]
    await observing.removed(place, "road")


def check_side_by_side(bodies: list[dict[str, Any]]) -> None:
    """Every machine has begun each of its steps before the last machine has ended it."""
    order = [(body["type"], body.get("step", "")) for body in bodies]
    for step in ("clone", "power-on", "address"):
        began = [at for at, (kind, name) in enumerate(order) if kind == "step.began" and name.endswith(f"/{step}")]
        ended = [at for at, (kind, name) in enumerate(order) if kind == "step.done" and name.endswith(f"/{step}")]
        assert len(began) == 3
        assert max(began) < max(ended)


async def test_the_inventory_names_the_template(place: Site) -> None:
    out = await place.must("gateway", "inventory", site.GATEWAY, "--account", site.ACCOUNT)
    assert place.lab.template in out
