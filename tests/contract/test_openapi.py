"""This file is what the OpenAPI document promises about the API, and that it speaks the truth."""

import json
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.console.api import openapi
from gateway.console.api.models import Nothing
from gateway.console.api.problems import STATUS
from gateway.console.api.routes import Route
from gateway.console.api.table import TABLE
from gateway.kit.errors import GatewayError, every_error_class

DOCUMENT = openapi.document(TABLE)


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def test_the_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert described == {(route.method, route.path) for route in TABLE} | {("GET", openapi.SELF)}


def test_no_two_routes_share_a_name() -> None:
    names = [route.operation for route in TABLE]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", TABLE, ids=lambda route: route.operation)
def test_a_route_is_described_by_what_its_handler_takes_and_answers(route: Route) -> None:
    shape, described = route.shape, operation(route)

    in_path = {one["name"] for one in described.get("parameters", []) if one["in"] == "path"}
    assert in_path == set(shape.path.model_fields) == {part[1:-1] for part in route.path.split("/") if part[:1] == "{"}
    assert ("requestBody" in described) == (shape.body is not Nothing)
    assert ("security" in described) == route.public
    answer = described["responses"][str(route.status)]
    if issubclass(shape.answer, web.StreamResponse) or shape.answer is type(None):
        assert "application/json" not in answer.get("content", {})
    else:
        reference = answer["content"]["application/json"]["schema"]["$ref"]
        assert reference.removeprefix("#/components/schemas/") == shape.answer.__name__


@pytest.mark.parametrize("route", TABLE, ids=lambda route: route.operation)
def test_every_problem_of_a_route_is_described_with_its_code(route: Route) -> None:
    described = operation(route)["responses"]

    for kind in route.errors:
        assert kind.code in described[str(STATUS[kind])]["description"]
        assert "application/problem+json" in described[str(STATUS[kind])]["content"]


@pytest.mark.parametrize("route", TABLE, ids=lambda route: route.operation)
def test_what_the_store_and_the_hall_may_answer_is_described_where_it_can_occur(route: Route) -> None:
    described = operation(route)["responses"]

    watches = route.operation in {"watchEvents", "watchProjectEvents"}
    asks_the_store = route.operation not in {"health", "showAuthority", "listSuccessions", "echo", "openNested"}
    said = described.get("503", {"description": ""})["description"]
    assert ("console.too_many_watchers" in said) == watches
    assert ("console.store_unavailable" in said) == asks_the_store
    conflicts = asks_the_store and route.method != "GET"
    assert ("console.store_conflict" in described.get("409", {"description": ""})["description"]) == conflicts


def test_wishes_are_described_as_closed() -> None:
    spec = DOCUMENT["components"]["schemas"]["ClusterSpec"]

    assert spec["additionalProperties"] is False


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert wanted <= set(DOCUMENT["components"]["schemas"])


def test_what_a_caller_can_mend_is_not_answered_as_our_failure() -> None:
    console = [kind for kind in every_error_class() if kind.__module__.startswith("gateway.console")]
    answered: list[type[GatewayError]] = [kind for kind in console if kind in STATUS]

    for kind in answered:
        assert (STATUS[kind] < 500) or kind.remedy != "caller", kind
