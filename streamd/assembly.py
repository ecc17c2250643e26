"""What runs functions, built in order and taken down in reverse: constructors only. One worker does this."""

from functools import partial

from streamd.config import Config
from streamd.engine.engine import Engine
from streamd.errors import QueueFull, SandboxFailed
from streamd.functions.calls import Route
from streamd.functions.dialect import Authenticates, LambdaDialect
from streamd.functions.faults import not_found
from streamd.functions.host import Host
from streamd.functions.invoker import Invoker
from streamd.functions.layer_calls import get_layer_code
from streamd.functions.layers import Layers
from streamd.functions.naming import Account
from streamd.functions.operations import OPERATION_BY_NAME
from streamd.functions.reading import get_code
from streamd.functions.registry import Registry
from streamd.storage.directory import DataDirectory
from streamd.storage.packages import Packages

__all__ = ["FunctionsRoom"]


class _Stub:
    account_limit = 10

    def provisioned(self, arn):
        return 0

    async def run(self, runnable, invocation, *, may_wait):
        raise SandboxFailed("not yet")

    async def enqueue(self, arn, payload, *, request_id=None):
        raise QueueFull("not yet")

    def tags_of(self, mapping):
        raise not_found("The resource you requested does not exist.")

    async def set_tags(self, mapping, tags):
        pass


class FunctionsRoom:
    """The functions of a daemon."""

    def __init__(
        self, config: Config, directory: DataDirectory, engine: Engine, authenticator: Authenticates, *, tls_port=None
    ) -> None:
        self._registry = Registry(engine.store)
        self._layers = Layers(engine.store)
        self._packages = Packages(directory.functions_path / "code")
        account = Account(config.account.account_id, config.account.region)
        stub = _Stub()
        invoker = Invoker(account, self._registry, self._packages, self._layers, stub, count=lambda *a: None)
        host = Host(
            account=account,
            registry=self._registry,
            packages=self._packages,
            layers=self._layers,
            clock=engine.clock,
            invoker=invoker,
            queue=stub,
            concurrency=stub,
            mapping_tags=stub,
            check_target=lambda t: None,
            runtimes=frozenset({"python3.11", "python3.12", "nodejs20.x", "provided.al2023"}),
            secret=directory.token_secret(),
            transition_ms=config.account.transition_ms,
            timeout_s_max=config.functions.timeout_s_max,
        )
        self.dialect = LambdaDialect(
            authenticator,
            engine.metrics,
            operations={name: partial(op, host) for name, op in OPERATION_BY_NAME.items()},
            routes=[
                Route("GetCode", "GET", "/_streamd/code/{name}/{version}", partial(get_code, host), is_open=True),
                Route(
                    "GetLayerCode",
                    "GET",
                    "/_streamd/layers/{name}/{version}",
                    partial(get_layer_code, host),
                    is_open=True,
                ),
            ],
            tls_port=tls_port,
        )

    async def load(self) -> None:
        await self._registry.load()
        await self._layers.load()
        await self._packages.keep_only(self._registry.packages() | self._layers.packages())
