"""This file is how what an appliance says is made fit for terminals: control characters go, at the door.

What an appliance reports comes from data centres, machines and Ansible, and ends in somebody's terminal, where an
escape sequence is an order. Keys and requests in PEM keep their lines, which are part of them. Pure.
"""

import re

from pydantic import JsonValue

TABLE = dict.fromkeys((*range(32), *range(127, 160)), "�")
TABLE |= {ord(white): " " for white in "\t\n\r"}
"""C0, DEL and C1 (ECMA-48); what only moves the cursor along becomes a space."""
PEM = re.compile(r"(?:-----BEGIN ([A-Z ]{1,40})-----\n(?:[A-Za-z0-9+/=]{1,76}\n){1,400}-----END \1-----\n?){1,4}")
"""RFC 7468, strictly: letters that order nothing, and the ends of lines."""


def cleaned(value: JsonValue) -> JsonValue:
    """Return a JSON value with every control character in it, in keys too, replaced; PEM is left as it is."""
    match value:
        case str():
            return value if PEM.fullmatch(value) else value.translate(TABLE)
        case list():
            return [cleaned(one) for one in value]
        case dict():
            return {key.translate(TABLE): cleaned(one) for key, one in value.items()}
    return value
