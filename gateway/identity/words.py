"""This file is a device key's fingerprint in words that a person can read out and compare.

Each word stands for 16 bits as a proquint (D. S. Wilkerson, "A Proposal for Proquints", arXiv:0901.4016): consonant,
vowel, consonant, vowel, consonant. Six of them are the first 96 bits of the SHA-256 of the key's SubjectPublicKeyInfo:
who would make another key with the same words has to try about 2^96 of them.
"""

import re

from gateway.identity import keys

WORDS = 6
CONSONANTS = "bdfghjklmnprstvz"
VOWELS = "aiou"


def fingerprint(public_pem: str) -> str:
    """Return the six words of a device key, with dashes between. Raises KeyUnreadableError."""
    digest = keys.spki_digest(keys.read_public(public_pem))
    return "-".join(_word(int.from_bytes(digest[at : at + 2], "big")) for at in range(0, 2 * WORDS, 2))


def normal(said: str) -> str:
    """Return words as fingerprint() writes them, however a person has typed them: case, spaces, commas."""
    return "-".join(re.findall(r"[a-z]+", said.lower()))


def are_whole(said: str) -> bool:
    """Tell whether words could be a fingerprint at all: as many as one has, each of which stands for 16 bits."""
    word = f"[{CONSONANTS}][{VOWELS}][{CONSONANTS}][{VOWELS}][{CONSONANTS}]"
    return re.fullmatch(f"{word}(-{word}){{{WORDS - 1}}}", normal(said)) is not None


def _word(number: int) -> str:
    parts = (CONSONANTS[number >> 12], VOWELS[number >> 10 & 3], CONSONANTS[number >> 6 & 15], VOWELS[number >> 4 & 3])
    return "".join(parts) + CONSONANTS[number & 15]
