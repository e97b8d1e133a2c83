"""This file is how text from elsewhere is made harmless before it is printed: on one line, nothing but letters.

A name or a message comes from a console, a gateway, a vCenter or a cluster file. Printed raw, an escape sequence in it
would move the cursor or set the terminal's title, a newline would look like a line of ours, a bidirectional control
would turn words around.
"""

import unicodedata

HARMFUL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are shown by their number: controls, formats (bidirectional ones among them), separators."""
GAPS = "\n\r\t\v\f\x85\u2028\u2029"


def plain(text: object) -> str:
    """Return `text` on one line, with everything in it that is no letter, sign or space written as its number."""
    said = str(text)
    return said if said.isprintable() else "".join(_shown(letter) for letter in said)


def _shown(letter: str) -> str:
    if letter in GAPS:
        return " "
    if unicodedata.category(letter) not in HARMFUL:
        return letter
    number = ord(letter)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
