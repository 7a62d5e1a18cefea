"""The authorization plugin: gathers the facts that a call needs, decides, answers in Docker's words.

Source: Docker Engine "Access authorization plugin". Our own calls to the engine come through here too: they
are GETs, `kill` and removals, which are admitted without a question, so that no call waits for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from netns.driver import admission, container_spec
from netns.driver.admission import ADMITTED, Admitted, Decision, Refused
from netns.driver.api_call import ApiCall, Kind, UnclearCall, call_of, require_no_form
from netns.driver.container_spec import JOIN, ContainerSpec, Writer
from netns.driver.facts import Engine, EngineUnavailable, Running
from netns.driver.go_json import UnclearBody, read_object
from netns.driver.messages import AuthorizationRequest, AuthorizationResponse
from netns.driver.mounts import MountKind, mounts_of
from netns.driver.requirements import Facts

Report = Callable[[AuthorizationRequest, Refused], None]
Heard = Callable[[str], None]
Unrecordable = Callable[[], str]
Announced = Callable[[str], bool]
StartRefused = Callable[[str], None]
Accepted = Callable[[], Collection[str]]
Changed = Callable[[], None]

_CHANGES = frozenset({Kind.CONNECT, Kind.UPDATE})
"""Calls that change a container which runs, and name it by what dockerd looks up only after our answer."""


def _silent(message: AuthorizationRequest, refused: Refused) -> None:
    del message, refused


def _recordable() -> str:
    return ""


def _deaf(target: str) -> None:
    del target


def _unmoved(reference: str) -> None:
    del reference


def _never(target: str) -> bool:
    del target
    return False


def _none_accepted() -> Collection[str]:
    return ()


def _unchanged() -> None:
    pass


class Authorization:
    """Implements `netns.driver.wire.Authorization`.

    `driver` is the name of our network driver, `accepted` gives the ids of the networks that it has accepted.
    `tenants_dir` and what `real_path` resolves are in dockerd's file system, where dockerd will resolve it
    again: `real_path` raises `OSError` for a path that others than the operator can lead elsewhere meanwhile.
    `report` hears of every refusal, `heard` of every request target. While `unrecordable` says why nothing
    can be recorded, no container of ours is admitted. `announced` knows the targets of probes (see
    `appliance.admission_probe`), whose refusal nobody hears of. `start_refused` hears of a container on a
    network of ours that was not let start. `changed` hears of a call that may have changed any container.
    """

    def __init__(
        self,
        engine: Engine,
        driver: str,
        tenants_dir: str,
        real_path: Callable[[str], str],
        *,
        report: Report = _silent,
        heard: Heard = _deaf,
        unrecordable: Unrecordable = _recordable,
        announced: Announced = _never,
        start_refused: StartRefused = _unmoved,
        accepted: Accepted = _none_accepted,
        changed: Changed = _unchanged,
    ) -> None:
        self._engine = engine
        self._driver = driver
        self._tenants_dir = tenants_dir
        self._real_path = real_path
        self._report = report
        self._heard = heard
        self._unrecordable = unrecordable
        self._announced = announced
        self._start_refused = start_refused
        self._accepted = accepted
        self._changed = changed
        self._log = Logger()

    async def authorize(self, message: AuthorizationRequest) -> dict[str, Any]:
        """Admit or refuse one API call."""
        self._heard(message.RequestUri)
        if self._announced(message.RequestUri):
            return {"Allow": False, "Msg": "egress: this was the probe for the admission plugin"}
        decision = await self.decide(message)
        if isinstance(decision, Refused):
            self._log.warn("{decision}", decision=decision.message)
            self._report(message, decision)
            return {"Allow": False, "Msg": decision.message}
        return {"Allow": True}

    async def answered(self, message: AuthorizationResponse) -> dict[str, Any]:
        """Let the engine's answer through; nobody waits for what `changed` leads to.

        Containers can be renamed between our decision and dockerd's own look-up, so what was decided may have
        been done to another one. Now it is done, and what is there can be judged.
        """
        try:
            changes = call_of(message.RequestMethod, message.RequestUri).kind in _CHANGES
        except UnclearCall:
            changes = True
        if changes:
            self._changed()
        return {"Allow": True}

    async def decide(self, message: AuthorizationRequest) -> Decision:
        """The decision; whatever cannot be read or looked up is refused."""
        what = "this call"
        try:
            call = call_of(message.RequestMethod, message.RequestUri)
            what = call.kind.value
            decision = await self._decide(call, message)
        except (UnclearCall, UnclearBody) as error:
            return admission.unclear(error, what)
        except EngineUnavailable as error:
            return Refused(("engine",), f"egress: {what} refused: {error}; try again")
        except OSError as error:
            return Refused(("path",), f"egress: {what} refused: {error}")
        if call.kind is Kind.START and isinstance(decision, Refused) and decision.tenant:
            self._start_refused(call.reference)
        return decision

    async def decide_existing(self, reference: str) -> Decision:
        """Whether a container that is there may be on its networks. Raises `EngineUnavailable`."""
        document = await self._engine.container(reference)
        if document is None:
            return ADMITTED
        try:
            return await self._container(container_spec.of_engine(document))
        except UnclearBody as error:
            return admission.unclear(error, "container")

    async def ours(self) -> tuple[Running, ...]:
        """Containers that run on a network of ours, were made for one, or share the network of another.

        Whose network that is, the list does not say. Raises `EngineUnavailable`.
        """
        running = await self._engine.running()
        facts = await self._networks()
        return tuple(
            one
            for one in running
            if any(name.startswith(JOIN) for name in one.networks)
            or admission.asked_network(one.networks, facts) is not None
        )

    async def _decide(self, call: ApiCall, message: AuthorizationRequest) -> Decision:
        body = message.RequestBody
        match call.kind:
            case Kind.OTHER:
                return ADMITTED
            case Kind.CREATE:
                return await self._container(container_spec.of_request(read_object(body)))
            case Kind.START:
                # Again at every start: names of networks, volumes and links may mean something else by now.
                return await self.decide_existing(call.reference)
            case Kind.EXEC_CREATE:
                asked = read_object(body)
                document = await self._engine.container(call.reference)
                if document is None:
                    return ADMITTED
                process = admission.exec_asked(call.reference, asked)
                return admission.decide_exec(process, document, await self._networks())
            case Kind.EXEC_START:
                process_there = await self._engine.exec_instance(call.reference)
                if process_there is None:
                    return ADMITTED
                document = await self._engine.container(process_there.container)
                if document is None:
                    return ADMITTED
                return admission.decide_exec(process_there, document, await self._networks())
            case Kind.UPDATE:
                asked = read_object(body)
                document = await self._engine.container(call.reference)
                if document is None:
                    return admission.decide_unknown("update", call.reference, await self._networks())
                return admission.decide_update(asked, document, await self._networks())
            case Kind.NETWORK_CREATE:
                return admission.decide_network(read_object(body), self._driver)
            case Kind.CONNECT:
                asked = read_object(body)
                container = asked.text("Container")
                document = await self._engine.container(container)
                return admission.decide_connect(call.reference, container, document, await self._networks())
            case Kind.BUILD:
                require_no_form(message.RequestHeaders)
                return await self._references("build", call.networks)
            case Kind.SERVICE:
                return await self._references("service", admission.service_networks(read_object(body)))

    async def _references(self, what: str, references: tuple[str, ...]) -> Decision:
        users = [name for name in references if name not in container_spec.BUILT_IN]
        if not users:
            return ADMITTED
        joined = [name.removeprefix(JOIN) for name in users if name.startswith(JOIN)]
        return admission.decide_references(what, users, await self._networks(joined))

    async def _container(self, spec: ContainerSpec) -> Decision:
        joined = tuple(spec.joined_containers())
        if not joined and not spec.network_references():
            return ADMITTED  # the usual container of others: no question, no delay
        facts = await self._networks(joined)
        network = admission.asked_network(spec.network_references(), facts)
        if network is not None:
            facts = await self._details(spec, facts)  # only a container of ours costs more questions
        decision = admission.decide_container(spec, facts)
        if network is not None and isinstance(decision, Admitted) and (why := self._unrecordable()):
            return Refused(("audit-unavailable",), f"egress: container refused: {why}", network.tenant)
        return decision

    async def _networks(self, containers: Iterable[str] = ()) -> Facts:
        return Facts(
            driver=self._driver,
            tenants_dir=self._tenants_dir,
            networks=await self._engine.networks(),
            containers={name: await self._engine.container(name) for name in containers},
            accepted=self._accepted(),
        )

    async def _details(self, spec: ContainerSpec, facts: Facts) -> Facts:
        users: dict[str, str | None] = {}
        if spec.writer is Writer.CLIENT and not spec.config.text("User"):
            image = spec.config.text("Image")
            users[image] = await self._engine.image_user(image) if image else ""
        mounts = mounts_of(spec)
        volumes = {
            mount.source: await self._engine.volume(mount.source)
            for mount in mounts
            if mount.kind is MountKind.VOLUME
        }
        binds = [mount.source for mount in mounts if mount.kind is MountKind.BIND]
        paths = [self._tenants_dir, *binds] if binds else []
        return replace(
            facts,
            image_users=users,
            volumes=volumes,
            real_paths={path: self._real_path(path) for path in paths},
        )
