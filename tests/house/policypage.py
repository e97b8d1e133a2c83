"""This file is the part of docs/policy.md that is made from the code: every key, and what profiles allow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gateway.contract.policy import CLASS_OF, CLASSES_OF, STREAMS_IN, Policy, Profile

BEGIN = "<!-- from here on made by `make docs` from the code; change it there -->\n"
END = "<!-- to here -->\n"
PATH = Path(__file__).parents[2] / "docs" / "policy.md"


def policy_page() -> str:
    """Return docs/policy.md: what people have written of it, and the rest made anew."""
    before, _, rest = PATH.read_text().partition(BEGIN)
    return before + BEGIN + "\n".join([*_profiles(), "", *_keys(), ""]) + END + rest.partition(END)[2]


def _profiles() -> Iterator[str]:
    yield "| kind of command | class | " + " | ".join(f"`{one}`" for one in Profile) + " |"
    yield "| --- | --- |" + " --- |" * len(Profile)
    for kind, what in CLASS_OF.items():
        yield f"| `{kind}` | {what} | " + " | ".join(_in(what in CLASSES_OF[one], one) for one in Profile) + " |"
    yield "| streams to targets | | " + " | ".join(_in(one in STREAMS_IN, one) for one in Profile) + " |"


def _in(is_allowed: bool, profile: Profile) -> str:
    if profile is Profile.CUSTOM:
        return "if listed"
    return "yes" if is_allowed else "no"


def _keys() -> Iterator[str]:
    yield from ("| key | value | left out | meaning |", "| --- | --- | --- | --- |")
    yield from _rows(Policy, "")


def _rows(model: type[BaseModel], above: str) -> Iterator[str]:
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        inner = _model(field.annotation)
        if inner is not None:
            yield from _rows(inner, f"{path}{'[]' if _is_list(field.annotation) else ''}.")
            continue
        shape = schema["properties"][name]
        value, default = _value(shape, schema), _default(field.get_default(call_default_factory=True))
        yield f"| `{path}` | {value} | {default} | {field.description or ''} |"


def _model(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - whatever a field is declared as
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if _is_list(annotation):
        return _model(annotation.__args__[0])
    return None


def _is_list(annotation: Any) -> bool:  # noqa: ANN401 - whatever a field is declared as
    return getattr(annotation, "__origin__", None) is tuple


def _value(shape: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in shape:
        return _value(schema["$defs"][shape["$ref"].rsplit("/", 1)[1]], schema)
    if "anyOf" in shape:
        return next(_value(one, schema) for one in shape["anyOf"] if one.get("type") != "null")
    if "enum" in shape:
        return ", ".join(f"`{one}`" for one in shape["enum"])
    match shape["type"]:
        case "array":
            return f"list of {_value(shape['items'], schema)}"
        case "object":
            inner = next(iter(shape.get("patternProperties", {}).values()), None) or shape["additionalProperties"]
            return f"names, each with {_value(inner, schema)}"
        case "integer":
            return "whole number"
    return "text"


def _default(value: Any) -> str:  # noqa: ANN401 - whatever a field has as its default
    if value is PydanticUndefined:
        return "must be there"
    if value is None:
        return "no bound"
    if isinstance(value, tuple | dict):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return f"`{value}`"
