"""This file is what the HTTP API promises, over real HTTPS."""

import ssl
from pathlib import Path

import aiohttp
import pytest

from gateway.console.api import problems
from gateway.console.api.table import TABLE
from gateway.console.daemon import PortTakenError
from gateway.console.store import gateways
from gateway.contract.problems import Problem
from gateway.kit.files import AlreadyRunningError
from tests.fakes.console import Console, Said, cluster, paired_appliance, running_console, token


def is_problem(said: Said, status: int, code: str) -> bool:
    problem = Problem.model_validate(said.body)
    assert (said.status, problem.code) == (status, code), said
    return str(said.headers["Content-Type"]).startswith(problems.CONTENT_TYPE)


async def test_health_needs_no_key(console: Console) -> None:
    said = await console.ask("GET", "/healthz", key="")

    assert (said.status, said.body["status"]) == (200, "ok")


async def test_a_key_says_who_one_is(console: Console) -> None:
    said = await console.ask("GET", "/api/v1/whoami")

    assert (said.body["tenant"], said.body["user"], said.body["projects"]) == ("default", "admin", ["default"])


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer nonsense",
        "Basic YTpi",
        "Bearer pcgkey1_0123456789abcdef_" + "A" * 43,
        "Bearer pcgkey1_0123456789abcdef_" + "A" * 42,
    ],
)
async def test_nobody_comes_in_without_a_key(console: Console, header: str | None) -> None:
    for route in TABLE:
        if route.public:
            continue
        path = route.path.format(project="default", name="demo", id="0" * 20, account="main")
        headers = {} if header is None else {"Authorization": header}
        async with console.http.request(route.method, path, headers=headers) as answer:
            said = Said(answer.status, await answer.json(content_type=None), answer.headers)
        assert is_problem(said, 401, "auth.not_signed_in")
        assert said.headers["WWW-Authenticate"] == "Bearer"


async def test_a_key_with_one_character_wrong_is_no_key(console: Console) -> None:
    wrong = console.key[:-2] + ("A" if console.key[-2] != "A" else "B") + console.key[-1]

    assert is_problem(await console.ask("GET", "/api/v1/whoami", key=wrong), 401, "auth.not_signed_in")


async def test_the_first_key_is_private_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "console"
    async with running_console(path) as console:
        first = console.key
    async with running_console(path) as console:
        assert console.key == first
        assert (await console.ask("GET", "/api/v1/whoami")).status == 200
    assert (path / "admin.key").stat().st_mode & 0o777 == 0o600


async def test_only_tls_1_3_is_spoken(console: Console) -> None:
    old = ssl.create_default_context(cafile=str(console.settings.state / "authority" / "authority.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(aiohttp.ClientConnectorError):
        await console.http.get("/healthz", ssl=old)


async def test_unknown_paths_and_methods_are_problems_too(console: Console) -> None:
    assert is_problem(await console.ask("GET", "/api/v1/nowhere"), 404, "request.unknown_route")
    said = await console.ask("PATCH", "/api/v1/gateways")
    assert is_problem(said, 405, "request.unknown_method")
    assert said.headers["Allow"] == "GET"


async def test_a_body_over_the_limit_is_refused(console: Console) -> None:
    said = await console.ask("POST", "/api/v1/registration-tokens", raw=b" " * (1024 * 1024 + 1))

    assert is_problem(said, 413, "request.too_large")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"gateway": "\xff"}', b"[" * 5000])
async def test_a_body_that_is_no_wish_is_refused(console: Console, raw: bytes) -> None:
    said = await console.ask("POST", "/api/v1/registration-tokens", raw=raw)

    assert is_problem(said, 422, "request.invalid")


async def test_each_wrong_spot_of_a_wish_is_named_by_its_path(console: Console) -> None:
    wish = cluster().model_dump(mode="json")
    wish["pools"][0]["count"] = -1
    wish["pools"][1]["size"] = "xl"
    wish["extra"] = True

    said = await console.ask("PUT", "/api/v1/projects/default/clusters/demo", wish)

    assert is_problem(said, 422, "request.invalid")
    where = [fault["where"] for fault in said.body["faults"]]
    assert where == [["pools", 0, "count"], ["pools", 1, "size"], ["extra"]]


async def test_a_query_is_checked_like_a_body(console: Console) -> None:
    for query in ("after=x", f"after={2**63}", "unknown=1", "after=1&after=2", "command=7"):
        said = await console.ask("GET", f"/api/v1/projects/default/events?{query}")
        assert is_problem(said, 422, "request.invalid"), query


async def test_a_token_is_shown_once_and_listed_without_its_secret(console: Console) -> None:
    text = await token(console)

    listed = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"]

    assert [(one["gateway"], one["state"]) for one in listed] == [("dc1", "open")]
    assert text not in str(listed)
    assert "token" not in listed[0]


@pytest.mark.parametrize("hours", [0, 169, -1, "1.5"])
async def test_a_token_lives_between_an_hour_and_a_week(console: Console, hours: object) -> None:
    said = await console.ask("POST", "/api/v1/registration-tokens", {"gateway": "dc1", "hours": hours})

    assert is_problem(said, 422, "request.invalid")


async def test_a_revoked_token_is_listed_as_such(console: Console) -> None:
    await token(console)
    one = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"][0]

    said = await console.ask("DELETE", f"/api/v1/registration-tokens/{one['id']}")

    assert said.status == 204
    listed = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"]
    assert listed[0]["state"] == "revoked"


async def test_a_wish_is_remembered_and_shown(console: Console) -> None:
    await paired_appliance(console)

    said = await console.put(cluster())

    assert said.status == 202
    assert (said.body["cluster"]["phase"], said.body["command"]["state"]) == ("pending", "pending")
    shown = (await console.ask("GET", "/api/v1/projects/default/clusters/demo")).body
    assert shown == said.body["cluster"]
    assert shown["spec"] == cluster().model_dump(mode="json")
    listed = (await console.ask("GET", "/api/v1/projects/default/clusters")).body["items"]
    assert [(one["name"], one["machines_wished"], one["machines_prepared"]) for one in listed] == [("demo", 3, 0)]
    command = said.body["command"]["id"]
    for path in (f"/api/v1/commands/{command}", f"/api/v1/projects/default/commands/{command}"):
        assert (await console.ask("GET", path)).body == said.body["command"]


async def test_a_wish_for_an_unknown_gateway_leaves_nothing(console: Console) -> None:
    assert is_problem(await console.put(cluster()), 404, "gateway.unknown")
    assert (await console.ask("GET", "/api/v1/projects/default/clusters")).body["items"] == []


async def test_path_and_body_must_name_the_same_cluster(console: Console) -> None:
    said = await console.ask("PUT", "/api/v1/projects/default/clusters/other", cluster().model_dump(mode="json"))

    assert is_problem(said, 422, "request.invalid")
    assert said.body["faults"][0]["where"] == ["name"]


async def test_a_wish_too_large_to_relay_is_refused_before_it_is_remembered(console: Console) -> None:
    await paired_appliance(console)
    key = "ssh-ed25519 " + "A" * 8000
    large = cluster().model_copy(update={"ssh_authorized_keys": [key] * 50})

    assert is_problem(await console.put(large), 422, "command.too_large")
    assert (await console.ask("GET", "/api/v1/projects/default/clusters")).body["items"] == []


async def test_a_cluster_that_no_gateway_has_heard_of_is_deleted_at_once(console: Console) -> None:
    await paired_appliance(console)
    wished = await console.put(cluster())

    said = await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")

    assert (said.status, said.body["cluster"]) == (202, None)
    assert (said.body["command"]["id"], said.body["command"]["state"]) == (wished.body["command"]["id"], "cancelled")
    again = await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")
    assert is_problem(again, 404, "cluster.unknown")


async def test_a_later_wish_replaces_one_that_was_not_sent(console: Console) -> None:
    await paired_appliance(console)
    first = (await console.put(cluster())).body["command"]["id"]

    second = (await console.put(cluster(workers=5))).body

    replaced = (await console.ask("GET", f"/api/v1/commands/{first}")).body
    assert (replaced["state"], replaced["problem"]["code"]) == ("cancelled", "command.superseded")
    assert second["command"]["state"] == "pending"
    assert second["cluster"]["spec"]["pools"][1]["count"] == 5


async def test_a_gateway_with_clusters_stays_and_one_without_can_go(console: Console) -> None:
    await paired_appliance(console)
    await console.put(cluster())

    said = await console.ask("DELETE", "/api/v1/gateways/dc1")
    assert is_problem(said, 409, "gateway.in_use")
    assert "?forget=true" in said.body["message"]
    await console.ask("DELETE", "/api/v1/projects/default/clusters/demo")
    assert (await console.ask("DELETE", "/api/v1/gateways/dc1")).body["forgotten"] == []
    assert is_problem(await console.ask("GET", "/api/v1/gateways/dc1"), 404, "gateway.unknown")


async def test_a_tenant_finds_nothing_of_another_tenant(console: Console) -> None:
    """Walks every route of the table with the names and ids of another tenant's things."""
    appliance = await paired_appliance(console)
    wished = (await console.put(cluster())).body
    await token(console, "dc9")
    token_id = (await console.ask("GET", "/api/v1/registration-tokens")).body["items"][0]["id"]
    stranger = await console.add_tenant("stranger")
    bodies: dict[str, object] = {
        "applyCluster": cluster().model_dump(mode="json"),
        "planCluster": cluster().model_dump(mode="json"),
        "proposePolicy": {"policy": "profile: observe"},
        "tightenPolicy": {},
        "pauseGateway": {},
        "resumeGateway": {},
        "confirmGateway": {"words": "lusab-babad-lusab-babad-lusab-babad"},
        "makeRepairToken": {},
        "putSealedAccount": {"version": 1, "key_id": "0" * 64, "sealed": "AAAA"},
        "readInventory": {"account": "a"},
        "revokeGateway": {},
    }
    empty = {"listRegistrationTokens", "listGateways", "listClusters", "listAudit", "listAuditLines"}
    own = {"whoAmI", "makeRegistrationToken", "watchEvents", "watchProjectEvents", "openTunnel", "signAudit"}

    for route in TABLE:
        if route.public or route.operation in own:
            continue
        name = appliance.paired.gateway_name if "gateways" in route.path else "demo"
        number = token_id if "tokens" in route.path else wished["command"]["id"]
        path = route.path.format(project="default", name=name, id=number, account="main")
        path += "?account=main" if route.operation == "showSealingKey" else ""
        said = await console.ask(route.method, path, bodies.get(route.operation), key=stranger)
        if route.operation in empty:
            assert (said.status, said.body) == (200, {"items": []}), route.operation
        else:
            assert said.status == 404, (route.operation, said)

    assert (await console.ask("GET", "/api/v1/projects/default/clusters/demo")).body == wished["cluster"]


async def test_two_tenants_use_the_same_names_side_by_side(console: Console) -> None:
    stranger = await console.add_tenant("stranger")
    await paired_appliance(console)
    async with console.store() as store:
        scope = await console.scope()
        async with store.reading(scope) as rows:
            assert await gateways.find(rows, "dc1") is not None

    await paired_appliance(console, key=stranger)
    mine, theirs = await console.put(cluster()), await console.put(cluster(workers=7), key=stranger)

    assert (mine.status, theirs.status) == (202, 202)
    assert mine.body["cluster"]["id"] != theirs.body["cluster"]["id"]


async def test_a_second_console_in_the_same_directory_is_refused(console: Console) -> None:
    with pytest.raises(AlreadyRunningError):
        async with running_console(console.settings.state):
            pass


async def test_a_taken_port_is_named(console: Console, tmp_path: Path) -> None:
    from gateway.console import daemon  # noqa: PLC0415
    from gateway.console.settings import ConsoleSettings  # noqa: PLC0415

    port = int(console.reached.api.rpartition(":")[2])
    settings = ConsoleSettings(state=tmp_path / "second", listen="127.0.0.1", api_port=port, tunnel_port=0)

    with pytest.raises(PortTakenError, match=str(port)):
        async with daemon.running(settings, clock=console.clock):
            pass
