"""This file is the cluster file: YAML read strictly, with the line of everything that is wrong."""

import difflib
import json
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.cli.arguments import rule_broken
from gateway.contract.clusters import ClusterSpec
from gateway.kit.errors import GatewayError, Remedy

SIZE_LIMIT = 1024 * 1024
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


class ClusterFileError(GatewayError):
    """The cluster file cannot be used."""

    code = "clusterfile.invalid"
    remedy = Remedy.CALLER

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n  ".join(lines))


class ClusterFileUnreadableError(GatewayError):
    """The cluster file cannot be read."""

    code = "clusterfile.unreadable"
    remedy = Remedy.CALLER


def read(path: Path) -> ClusterSpec:
    """Read a cluster file. Raises ClusterFileError, whose message names file, line and column of each fault."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as fault:
        raise ClusterFileUnreadableError(f"cannot read the cluster file {path}: {fault.strerror}") from fault
    if len(content) > SIZE_LIMIT:
        raise ClusterFileError(f"{path}: the file is over {SIZE_LIMIT // 1024} KiB: is it a cluster file?")
    return parse(content, name=str(path))


def parse(content: bytes, *, name: str) -> ClusterSpec:
    """Parse the content of a cluster file; `name` is how messages call it. Raises ClusterFileError."""
    root = _compose(content, name)
    _check_nodes(root, name)
    try:
        return ClusterSpec.model_validate_json(json.dumps(_value(root, name)), strict=True)
    except ValidationError as fault:
        errors = fault.errors(include_url=False)
        lines = [_line(error, root, name) for error in errors]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise ClusterFileError(*lines[:SHOWN], *more) from fault


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
        raise ClusterFileError(f"{_mark(node, name)}: this cannot be read as a value of the kind {kind}") from fault
    return value


def _compose(content: bytes, name: str) -> yaml.Node:
    try:
        root: yaml.Node | None = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ClusterFileError(f"{place}: this is not YAML: {fault.problem}") from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise ClusterFileError(f"{name}: this is not YAML") from fault
    if root is None:
        raise ClusterFileError(f"{name}: the file is empty; docs/clusters.md shows what a cluster file says")
    return root


def _check_nodes(root: yaml.Node, name: str) -> None:
    """Refuse duplicate keys, tags, and aliases that would grow into more than NODE_LIMIT values."""
    sizes: dict[int, int] = {}
    try:
        size = _size(root, sizes, name)
    except RecursionError as fault:
        raise ClusterFileError(f"{name}: the file is nested too deeply or in a circle") from fault
    if size > NODE_LIMIT:
        raise ClusterFileError(f"{name}: the file holds more than {NODE_LIMIT} values: is it a cluster file?")


def _size(node: yaml.Node, sizes: dict[int, int], name: str) -> int:
    if id(node) in sizes:
        return sizes[id(node)]
    if node.tag not in TAGS[type(node)]:
        raise ClusterFileError(f"{_mark(node, name)}: the tag {node.tag} has no meaning here: take it out")
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
            raise ClusterFileError(f"{_mark(key, name)}: << has no meaning here: write the keys out")
        if not isinstance(key, yaml.ScalarNode) or key.tag != TAG + "str":
            raise ClusterFileError(f"{_mark(key, name)}: a key must be a plain word")
        if key.value in seen:
            first = seen[key.value].start_mark.line + 1
            raise ClusterFileError(
                f"{_mark(key, name)}: the key {key.value!r} stands here twice, first in line {first}"
            )
        seen[key.value] = key


def _line(error: ErrorDetails, root: yaml.Node, name: str) -> str:
    where: Where = error["loc"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if error["type"] == "extra_forbidden":
        return f"{_mark(_node_at(root, where, key=True), name)}: {path}: {_unknown_key(where)}"
    said = "this key is missing" if error["type"] == "missing" else rule_broken(error)
    prefix = f"{path}: " if path else ""
    return f"{_mark(_node_at(root, where), name)}: {prefix}{said}"


def _unknown_key(where: Where) -> str:
    known = _known_keys(where[:-1])
    near = difflib.get_close_matches(str(where[-1]), known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"unknown key; {meant}"


def _known_keys(where: Where) -> list[str]:
    schema = ClusterSpec.model_json_schema()
    current = schema
    for part in where:
        current = current["items"] if isinstance(part, int) else current["properties"][part]
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
