"""This file is what is promised to terminals: nothing an appliance says is an order, and PEM comes through whole."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.console import hygiene
from gateway.identity import keys
from gateway.identity.authority import certificate_request

REQUEST = certificate_request(keys.new_key())
HALF = len(REQUEST) // 2
ORDERS = {*map(chr, range(32)), *map(chr, range(127, 160))}


def test_a_request_keeps_its_lines() -> None:
    assert hygiene.cleaned({"request": REQUEST}) == {"request": REQUEST}


def test_what_only_looks_like_pem_loses_its_orders() -> None:
    for bad in (
        f"{REQUEST}\x1b[2J",
        f"{REQUEST[:HALF]}\x1b[1{REQUEST[HALF:]}",
        f"\x07{REQUEST}",
        f"{REQUEST}and a line\n",
    ):
        assert not ORDERS & set(str(hygiene.cleaned(bad)))


@given(st.text(max_size=200))
def test_no_text_keeps_an_order(text: str) -> None:
    assert not ORDERS & set(str(hygiene.cleaned(text)))
