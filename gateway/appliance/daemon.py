"""This file is the appliance as a whole: its parts, opened in order, run side by side, closed in reverse."""

import asyncio
from functools import partial
from pathlib import Path
from uuid import uuid4

import structlog

from gateway.appliance import anew, forwarding, hardware, outward, pairing, streams
from gateway.appliance.audit import AuditLog
from gateway.appliance.auditor import Auditor
from gateway.appliance.datalinks import DataLinks
from gateway.appliance.denials import Denials
from gateway.appliance.greeting import Greeter, Self
from gateway.appliance.handlers import handlers
from gateway.appliance.identity import Identity, NotPairedError, Paired
from gateway.appliance.lane import Lane
from gateway.appliance.lately import Diary
from gateway.appliance.link import Link
from gateway.appliance.lockdown import Lockdown
from gateway.appliance.notary import Notary
from gateway.appliance.outward import FirstRoads
from gateway.appliance.policy.gate import Gate
from gateway.appliance.recovering import Recovery
from gateway.appliance.renewal import Turnover
from gateway.appliance.sealed import Sealed
from gateway.appliance.settings import ApplianceSettings
from gateway.appliance.targets import Targets
from gateway.clouds import registry
from gateway.clouds.accounts import Accounts
from gateway.commands.executor import Executor
from gateway.commands.journal import RESERVE, Journal
from gateway.contract.identity import Hardware
from gateway.contract.messages import Offers, Welcome
from gateway.kit import files, secretfile, supervise
from gateway.kit.clock import Clock, SystemClock
from gateway.playbooks.ansible import AnsiblePlaybooks
from gateway.provisioning.clusters import Tools

log = structlog.get_logger(__name__)

COMPACT_EVERY = 3600.0
CONSOLE_FIRST = 30.0
"""Seconds for which commands of the last start wait for the console's word before they go on without it."""


async def run(settings: ApplianceSettings) -> None:
    """Run the appliance until SIGTERM or SIGINT. Raises NotPairedError when there is neither pairing nor token."""
    clock = SystemClock()
    state = files.make_private_directory(settings.state)
    with files.only_one(state):
        identity = Identity.open(state, device_key=settings.device_key)
        paired = identity.paired() or await _pair(identity, settings)
        await asyncio.to_thread(_use_up, settings.token_file)
        await asyncio.to_thread(identity.tidy)
        sealed = await asyncio.to_thread(_sealed, state, identity, paired, clock)
        accounts, targets = Accounts(state / "accounts", sealed), Targets(state / "targets")
        tools = Tools(registry.connect_by(accounts), AnsiblePlaybooks(clock=clock), state, settings.artifacts)
        async with (
            Journal.open(state / "journal.db", clock=clock, reserve=RESERVE) as journal,
            outward.opened(settings, paired.console, trust=identity.trust()) as roads,
        ):
            audit = AuditLog(state, clock=clock)
            append = audit.append
            notary = Notary(audit, lambda: (str(identity.member().gateway_id), identity.device()), clock=clock)
            gate = Gate(state, journal, gateway=paired.gateway_id, append=append, clock=clock)
            auditor = Auditor(append)
            diary = Denials(Diary(state, clock), auditor)
            itself, turnover = Self(uuid4(), _hardware(identity)), Turnover()
            first_roads = partial(_roads_to_recover, settings, identity)
            first, cap = settings.reconnect_first, settings.reconnect_cap

            async def work() -> None:
                """Do what an appliance does while there is no lockdown, until cancelled."""
                identity.member()  # which may have gone meanwhile
                serving = streams.serving(state, paired.gateway_id, targets, allowed=gate.check_stream, clock=clock)
                async with serving as service:

                    def welcomed(welcome: Welcome, *, asked: float) -> None:
                        service.welcomed(welcome, asked=asked)
                        notary.time.heard(welcome.server_time, asked=asked)
                        diary.welcomed(welcome.server_time)

                    lane = Lane(state, journal, identity, time=service.time, gate=gate, clock=clock)
                    executor = Executor(journal, gate.guarding(handlers(tools)), clock=clock)
                    link = Link(
                        Greeter(identity, journal, itself),
                        clock=clock,
                        offers=lambda: Offers(
                            accounts=accounts.names(),
                            targets=targets.offered(),
                            policy=gate.kept.standing(),
                            halted=lane.halt.read(),
                        ),
                        welcomed=welcomed,
                        time=service.time,
                        outward=roads,
                        turnover=turnover,
                        recovery=Recovery(identity, itself, roads=first_roads, clock=clock, failed=diary.failed),
                        sealed=sealed,
                        gate=gate,
                        lane=lane,
                    )
                    lines = DataLinks(identity, streams=service, outward=roads, turnover=turnover, clock=clock)

                    async def calls() -> None:
                        async with supervise.running(
                            link=link.run(first=first, cap=cap),
                            lines=lines.run(sessions=settings.data_sessions, first=first, cap=cap),
                        ):
                            await asyncio.Event().wait()

                    async with supervise.running(
                        executor=_once_welcomed(executor, link, journal, clock),
                        calls=anew.keep(calls, identity, clock=clock),
                        streams=service.run(),
                    ):
                        await asyncio.Event().wait()

            with auditor:
                try:
                    async with supervise.running(
                        work=Lockdown(state).keep(work, clock=clock),
                        gate=gate.run(),
                        compaction=_compact(journal, clock),
                        notary=notary.run(),
                        **forwarding.parts(settings, audit, clock=clock),
                    ):
                        log.info("appliance ready", gateway=paired.gateway_name, state=str(state))
                        await supervise.until_asked_to_stop()
                        log.info("appliance stopping; commands go on at the next start")
                finally:
                    await notary.stop()


async def _once_welcomed(executor: Executor, link: Link, journal: Journal, clock: Clock) -> None:
    """Go on with the commands of the last start when the console has said which of them are over.

    An appliance that was put back to an older state would do again what was done, or what was undone since. Where no
    console answers for a while, there is nothing to wait for: a command is not lost because a line is down.
    """
    if journal.open_commands():
        await supervise.first_of(link.greeted.wait(), clock.sleep(CONSOLE_FIRST))
    await executor.run()


def _sealed(state: Path, identity: Identity, paired: Paired, clock: Clock) -> Sealed:
    return Sealed.open(state, gateway=paired.gateway_id, device=identity.device(), clock=clock)


def _hardware(identity: Identity) -> Hardware:
    return hardware.read(device_key_in_tpm=identity.device().in_tpm)


def _roads_to_recover(settings: ApplianceSettings, identity: Identity) -> FirstRoads:
    return outward.first_roads(settings, trust=identity.trust())


async def _pair(identity: Identity, settings: ApplianceSettings) -> Paired:
    token = await asyncio.to_thread(_read_token, settings.token_file)
    return await pairing.pair(identity, token, roads=outward.first_roads(settings))


def _use_up(token_file: Path | None) -> None:
    """Wipe the token, also one that an interrupted start has left; it is good for nothing any more."""
    if token_file is None:
        return
    try:
        secretfile.wipe(token_file)
    except OSError as fault:
        log.warning("cannot remove the used registration token", path=str(token_file), error=fault.strerror)


def _read_token(token_file: Path | None) -> str:
    if token_file is None or not token_file.exists():
        raise NotPairedError(
            "this appliance is not paired: make a token with `pcg token create` and give it to `pcg appliance pair`"
        )
    if secretfile.close_to_others(token_file):
        log.warning("the registration token was open to others on this machine", path=str(token_file))
    return secretfile.read(token_file)


async def _compact(journal: Journal, clock: Clock) -> None:
    while True:
        await journal.compact()
        await clock.sleep(COMPACT_EVERY)
