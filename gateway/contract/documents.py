"""This file is how a YAML file is read into a model: strictly, with the line and column of everything that is wrong.

Plain YAML only: no tags, no merge keys, no key twice, no aliases that grow into more than a file would hold.
"""

import difflib
import json
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.contract.shapes import rule_broken
from gateway.kit.errors import GatewayError, Remedy

NODE_LIMIT = 20_000
SHOWN = 20
TAG = "tag:yaml.org,2002:"
TAGS = {
    yaml.ScalarNode: {f"{TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")},
    yaml.MappingNode: {f"{TAG}map"},
    yaml.SequenceNode: {f"{TAG}seq"},
}
"""The kinds of value that plain YAML has; any other was asked for with a tag."""

Where = tuple[str | int, ...]
Shape = TypeVar("Shape", bound=BaseModel)


class DocumentError(GatewayError):
    """A YAML file cannot be used; `lines` are its faults, each with its place."""

    code = "document.invalid"
    remedy = Remedy.CALLER

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n  ".join(lines))


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file should be: how it is called, such as "cluster file", and the page that tells what it says."""

    name: str
    page: str


def parse(content: bytes, model: type[Shape], *, name: str, kind: Kind) -> Shape:
    """Parse the content of a file; `name` is how messages call it. Raises DocumentError."""
    root = _compose(content, name, kind)
    _check_nodes(root, name, kind)
    try:
        return model.model_validate_json(json.dumps(_value(root, name)), strict=True)
    except ValidationError as fault:
        errors = fault.errors(include_url=False)
        lines = [_line(error, root, model, name=name) for error in errors]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise DocumentError(*lines[:SHOWN], *more) from fault


def _value(node: yaml.Node, name: str) -> object:
    """Return a checked node as plain values; a date is the text it was written as."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: _value(value, name) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(value, name) for value in node.value]
    return node.value if node.tag == TAG + "timestamp" else _scalar(node, name)


def _scalar(node: yaml.Node, name: str) -> object:
    try:
        value = yaml.constructor.SafeConstructor().construct_document(node)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, LookupError, AttributeError, TypeError, yaml.YAMLError) as fault:
        kind = node.tag.removeprefix(TAG)
        raise DocumentError(f"{_mark(node, name)}: this cannot be read as a value of the kind {kind}") from fault
    return value


def _compose(content: bytes, name: str, kind: Kind) -> yaml.Node:
    try:
        root: yaml.Node | None = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise DocumentError(f"{place}: this is not YAML: {fault.problem}") from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise DocumentError(f"{name}: this is not YAML") from fault
    if root is None:
        raise DocumentError(f"{name}: the file is empty; {kind.page} shows what a {kind.name} says")
    return root


def _check_nodes(root: yaml.Node, name: str, kind: Kind) -> None:
    """Refuse duplicate keys, tags, and aliases that would grow into more than NODE_LIMIT values."""
    sizes: dict[int, int] = {}
    try:
        size = _size(root, sizes, name)
    except RecursionError as fault:
        raise DocumentError(f"{name}: the file is nested too deeply or in a circle") from fault
    if size > NODE_LIMIT:
        raise DocumentError(f"{name}: the file holds more than {NODE_LIMIT} values: is it a {kind.name}?")


def _size(node: yaml.Node, sizes: dict[int, int], name: str) -> int:
    if id(node) in sizes:
        return sizes[id(node)]
    if node.tag not in TAGS[type(node)]:
        raise DocumentError(f"{_mark(node, name)}: the tag {node.tag} has no meaning here: take it out")
    total = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, name)
        total += sum(_size(value, sizes, name) for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_size(value, sizes, name) for value in node.value)
    sizes[id(node)] = total
    return total


def _check_keys(node: yaml.MappingNode, name: str) -> None:
    seen: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if key.tag == TAG + "merge":
            raise DocumentError(f"{_mark(key, name)}: << has no meaning here: write the keys out")
        if not isinstance(key, yaml.ScalarNode) or key.tag != TAG + "str":
            raise DocumentError(f"{_mark(key, name)}: a key must be a plain word")
        if key.value in seen:
            first = seen[key.value].start_mark.line + 1
            raise DocumentError(f"{_mark(key, name)}: the key {key.value!r} stands here twice, first in line {first}")
        seen[key.value] = key


def _line(error: ErrorDetails, root: yaml.Node, model: type[BaseModel], *, name: str) -> str:
    where: Where = error["loc"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if error["type"] == "extra_forbidden":
        said = _unknown_key(where, model)
        return f"{_mark(_node_at(root, where, key=True), name)}: {path}: {said}"
    said = "this key is missing" if error["type"] == "missing" else rule_broken(error)
    prefix = f"{path}: " if path else ""
    return f"{_mark(_node_at(root, where), name)}: {prefix}{said}"


def _unknown_key(where: Where, model: type[BaseModel]) -> str:
    known = _known_keys(where[:-1], model)
    near = difflib.get_close_matches(str(where[-1]), known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"unknown key; {meant}"


def _known_keys(where: Where, model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    current: dict[str, Any] = schema
    for part in where:
        inside = current.get("items") if isinstance(part, int) else current.get("properties", {}).get(part)
        current = inside or {}
        while "$ref" in current:
            current = schema["$defs"][current["$ref"].rsplit("/", 1)[-1]]
    return list(current.get("properties", {}))


def _node_at(root: yaml.Node, where: Where, *, key: bool = False) -> yaml.Node:
    """Return the node at a path, or the nearest above it that is there; with `key`, the last step's key."""
    node = root
    for index, part in enumerate(where):
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
            if found is None:
                return node
            node = found[0] if key and index == len(where) - 1 else found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    return node


def _mark(node: yaml.Node, name: str) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
