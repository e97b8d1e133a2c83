"""This file is what the doctor makes of what it has seen, where no road can easily be made to show it."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.appliance.doctor import verdicts
from gateway.appliance.doctor.findings import FINDINGS, Verdict
from gateway.appliance.doctor.verdicts import Ended, Knock, Knocked, May, Shown

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SELF_SIGNED = 19


def test_every_finding_has_a_code_of_its_own() -> None:
    codes = [one.code for one in FINDINGS]
    assert len(codes) == len(set(codes))


def test_whatever_is_wrong_has_a_remedy() -> None:
    bad = [one for one in FINDINGS if one.verdict in {Verdict.FAILED, Verdict.WARNING}]
    assert [one.code for one in bad if not one.remedy or not one.cause] == []


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (0.0, "clock.right"),
        (5.0, "clock.right"),
        (-5.1, "clock.off"),
        (60.0, "clock.off"),
        (60.1, "clock.wrong"),
        (-86400.0, "clock.wrong"),
        (None, "clock.unknown"),
    ],
)
def test_a_clock_is_judged_by_its_distance_either_way(offset: float | None, code: str) -> None:
    assert verdicts.clock(offset).finding.code == code


@pytest.mark.parametrize(
    ("ended", "after", "code"),
    [
        (Ended.NOT, 90.0, "hold.survived"),
        (Ended.CUT, 15.0, "hold.cut_early"),
        (Ended.CUT, 60.2, "hold.cut_late"),
        (Ended.DEAD, 100.0, "hold.forgotten"),
        (Ended.CLOSED, 40.0, "hold.console_closed"),
    ],
)
def test_only_a_cut_that_comes_before_the_tunnel_would_speak_is_a_failure(
    ended: Ended, after: float, code: str
) -> None:
    seen = verdicts.hold(ended, after=after, wished=90.0, road="a firewall")
    assert seen.finding.code == code
    assert (seen.finding.verdict is Verdict.FAILED) == (code == "hold.cut_early")


@pytest.mark.parametrize(
    ("status", "alert", "days", "code"),
    [
        (400, "", 300, "certificate.accepted"),
        (503, "", 300, "certificate.accepted"),
        (400, "", 3, "certificate.accepted"),
        (400, "", 1, "certificate.expires_soon"),
        (400, "", -3650, "certificate.accepted"),
        (None, "the connection ended without an answer", -1, "certificate.expired"),
        (None, "tlsv1 alert unknown ca", 300, "certificate.refused"),
        (None, "sslv3 alert certificate expired", 300, "certificate.refused"),
        (None, "the connection ended without an answer", 300, "certificate.cut"),
    ],
)
def test_a_certificate_is_taken_when_anything_at_all_is_answered(
    status: int | None, alert: str, days: int, code: str
) -> None:
    seen = verdicts.certificate(status, alert, until=NOW + timedelta(days=days), now=NOW)
    assert seen.finding.code == code


def test_one_dead_address_of_several_is_a_warning() -> None:
    knocks = [Knock("10.0.0.1", 8443, Knocked.OPEN), Knock("fd00::1", 8443, Knocked.NO_ROUTE)]
    seen = verdicts.tcp(knocks)
    assert seen.finding.code == "tcp.some_addresses"
    assert "[fd00::1]:8443 no route" in seen.seen


@pytest.mark.parametrize(
    ("answer", "code"),
    [(Knocked.SILENT, "tcp.silent"), (Knocked.NO_ROUTE, "tcp.no_route"), (Knocked.REFUSED, "tcp.refused")],
)
def test_a_dead_end_is_told_from_another(answer: Knocked, code: str) -> None:
    assert verdicts.tcp([Knock("10.0.0.1", 8443, answer)]).finding.code == code


@pytest.mark.parametrize(("fault", "code"), [(62, "tls.other_name"), (10, "tls.wrong_time"), (9, "tls.wrong_time")])
def test_the_consoles_own_certificate_may_be_wrong_too(fault: int, code: str) -> None:
    shown = Shown("console:8443", "CN=pcg console", "CN=pcg certificate authority", fault)
    assert verdicts.tls([shown], nested=May.IF_NEEDED).finding.code == code


def test_tls_opened_on_the_apis_port_alone_does_not_send_the_tunnel_around() -> None:
    api = Shown("console:8443", "CN=console", "CN=Proxy", SELF_SIGNED, SELF_SIGNED)
    tunnel = Shown("console:8444", "CN=console", "CN=Console", tunnel=True)
    assert verdicts.tls([api, tunnel], nested=May.IF_NEEDED).finding.code == "tls.api_opened"


def test_a_tunnel_port_without_tls_sends_the_tunnel_around_where_it_may() -> None:
    api = Shown("console:8443", "CN=console", "CN=Console")
    tunnel = Shown("console:8444", broken="no TLS: connection reset", tunnel=True)
    assert verdicts.tls([api, tunnel], nested=May.IF_NEEDED).finding.code == "tls.tunnel_cut"
    assert verdicts.tls([api, tunnel], nested=May.NEVER).finding.code == "tls.no_handshake"


@pytest.mark.parametrize(
    ("passed", "lost", "cut", "code"),
    [
        ([1, 1400, 1500, 9000, 65536], None, False, "mtu.whole"),
        ([1], 1400, False, "mtu.black_hole"),
        ([1, 1400, 1500], 9000, True, "mtu.cut"),
        ([], 1, False, "mtu.cut"),
    ],
)
def test_large_messages_that_vanish_are_a_black_hole(passed: list[int], lost: int | None, cut: bool, code: str) -> None:
    assert verdicts.mtu(passed, lost, cut=cut, kernel=1500).finding.code == code


@pytest.mark.parametrize(
    ("up", "down", "code"),
    [
        (2e6, 3e6, "throughput.measured"),
        (9e8, 9e5, "throughput.slow"),
        (None, None, "throughput.stalled"),
        (2e6, None, "throughput.stalled"),
    ],
)
def test_throughput_is_judged_by_the_slower_way(up: float | None, down: float | None, code: str) -> None:
    assert verdicts.throughput(up, down).finding.code == code
