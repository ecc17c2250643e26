"""``streamd serve``: runs the daemon until it is told to stop."""

import ipaddress
import logging
import os
import socket
import sys
from pathlib import Path

import click

from streamd.cli.metrics_folder import metrics_folder
from streamd.config import AccountConfig, Config, DoorConfig, FunctionsConfig, StoreConfig, TlsConfig
from streamd.errors import StreamdError
from streamd.storage.directory import read_secret_text

__all__ = ["serve"]

_GIB = 1 << 30
_WORKER_COUNT_MAX = 64


@click.command(
    epilog="""\b
Examples:
  streamd serve --data /var/lib/streamd --workers 4
  streamd serve --host 0.0.0.0 --auth keys.toml
  streamd serve --tls-port 4568 --tls-cert tls/server.pem --tls-key tls/server.key
"""
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4567, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("streamd-data"),
    show_default=True,
    help="Data directory, made if it is not there. One daemon at a time.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, _WORKER_COUNT_MAX),
    default=1,
    show_default=True,
    help="Processes that share the port and the data; one per core is plenty.",
)
@click.option(
    "--auth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of access keys; requests must then be signed by one of them.",
)
@click.option(
    "--tls-port", type=click.IntRange(0, 65535), help="Port that speaks TLS, beside the plain one; 0 takes a free one."
)
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PEM file of the certificate chain, the server's own first. `streamd tls init` makes one.",
)
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="PEM file of the certificate's key.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without --auth: anybody may do anything.")
@click.option(
    "--limits",
    type=click.Choice(["off", "aws", "shadow"]),
    default="off",
    show_default=True,
    help="AWS's rates: not applied, applied, or only counted.",
)
@click.option(
    "--transition-ms",
    type=click.IntRange(0, 3_600_000),
    default=0,
    show_default=True,
    help="How long CREATING, UPDATING and DELETING are held, for testers of waiters.",
)
@click.option(
    "--master-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of 32 bytes that wraps the data keys of encrypted streams. [default: made in the data directory]",
)
@click.option(
    "--size-max-gib",
    type=click.FloatRange(0.001, 65536),
    default=1024,
    show_default=True,
    help="Bound on the data's size; past it puts are refused and reads go on.",
)
@click.option("--account-id", default="000000000000", show_default=True, help="Account shown in ARNs: 12 digits.")
@click.option("--region", default="us-east-1", show_default=True, help="Region of unsigned requests.")
@click.option(
    "--shard-quota",
    type=click.IntRange(1, 1_000_000),
    default=20_000,
    show_default=True,
    help="Open shards the account may have.",
)
@click.option(
    "--on-demand-quota",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="On-demand streams the account may have.",
)
@click.option(
    "--function-sandbox",
    type=click.Choice(["auto", "bwrap", "process", "off"]),
    default="auto",
    show_default=True,
    help="Walls around functions: bubblewrap's, another user's, none; auto takes the strongest that works here.",
)
@click.option(
    "--function-network",
    type=click.Choice(["none", "host"]),
    default="none",
    show_default=True,
    help="What functions inside bwrap reach: this server alone, or what this machine reaches.",
)
@click.option(
    "--function-concurrency",
    type=click.IntRange(0, 100_000),
    default=0,
    show_default=True,
    help="Invocations at once, of all functions together; 0 is four for each core.",
)
@click.option(
    "--functions-config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of endpoints, push routes, destinations and runtimes.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is written to stderr.",
)
def serve(
    *,
    host: str,
    port: int,
    data: Path,
    workers: int,
    auth: Path | None,
    tls_port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
    limits: str,
    transition_ms: int,
    master_key: Path | None,
    size_max_gib: float,
    account_id: str,
    region: str,
    shard_quota: int,
    on_demand_quota: int,
    function_sandbox: str,
    function_network: str,
    function_concurrency: int,
    functions_config: Path | None,
    log_level: str,
) -> None:
    """Run the server.

    Prints one line on stdout when it accepts requests, ending in its URL; logs go to stderr. Stops on SIGTERM
    or Ctrl-C after the requests in hand. Exit status 74: the store could not be written or synced.
    """
    if auth is None and not insecure and not _is_loopback(host):
        raise click.UsageError(
            f"without --auth anybody who reaches {host} could do anything. "
            "Listen on 127.0.0.1, give --auth FILE, or say --insecure."
        )
    if not (account_id.isascii() and account_id.isdigit() and len(account_id) == 12):
        raise click.BadParameter("must be 12 digits", param_hint="--account-id")
    logging.basicConfig(
        # What libraries say for those who mend them holds what clients sent, signatures and tokens too.
        level="INFO" if log_level == "debug" else log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s",
    )
    logging.getLogger("streamd").setLevel(log_level.upper())
    try:
        config = Config(
            store=StoreConfig(directory=data, size_max=int(size_max_gib * _GIB), master_key=master_key),
            door=DoorConfig(
                host=host,
                port=port,
                access_keys=None if auth is None else _access_keys(auth),
                tls=_tls(tls_port, certificate=tls_cert, key=tls_key),
            ),
            account=AccountConfig(
                account_id=account_id,
                region=region,
                shard_quota=shard_quota,
                on_demand_stream_quota=on_demand_quota,
                limits_mode=limits,
                transition_ms=transition_ms,
            ),
            functions=FunctionsConfig(
                sandbox=function_sandbox,
                network=function_network,
                concurrency=function_concurrency,
                settings=None if functions_config is None else read_secret_text(functions_config),
            ),
            worker_count=workers,
        )
        status = _run(config)
    except StreamdError as error:
        click.echo(f"streamd: {error}", err=True)
        sys.exit(1)
    sys.exit(status)


def _run(config: Config) -> int:
    with metrics_folder() as folder:
        # prometheus-client decides when it is imported whether processes share their counts, so the import comes
        # after.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from streamd.supervisor import serve as run  # noqa: PLC0415 - see above

        return run(config, metrics_folder=folder, announce=lambda url, tls_url: _announce(url, tls_url, config))


def _announce(url: str, tls_url: str | None, config: Config) -> None:
    count = config.worker_count
    if tls_url is not None:
        click.echo(f"under TLS, with HTTP/2 and HTTP/1.1: {tls_url}", err=True)
    click.echo(f"streamd accepts requests ({count} worker{'s' if count > 1 else ''}) at {url}")
    region = config.account.region
    keys = "" if config.door.access_keys else "AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x "
    click.echo(
        f"boto3 and the AWS CLI: {keys}AWS_ENDPOINT_URL_KINESIS={url} AWS_DEFAULT_REGION={region} "
        "aws kinesis list-streams",
        err=True,
    )
    sys.stdout.flush()


def _access_keys(path: Path) -> str:
    """Read the access keys, so that a file that cannot be used is told before anything starts."""
    from streamd.server.auth import AccessKeys, permission_warning  # noqa: PLC0415 - only with --auth

    text = read_secret_text(path)
    AccessKeys.parse(text)
    if (warning := permission_warning(str(path), mode=path.stat().st_mode)) is not None:
        logging.getLogger(__name__).warning("%s", warning)
    return text


def _tls(port: int | None, *, certificate: Path | None, key: Path | None) -> TlsConfig | None:
    """Put the three flags together, and try them, so that files that cannot be used are told before anything starts."""
    if port is None and certificate is None and key is None:
        return None
    if port is None or certificate is None or key is None:
        raise click.UsageError("TLS needs all three: --tls-port, --tls-cert and --tls-key. `streamd tls init` helps.")
    from streamd.server.tls import tls_context  # noqa: PLC0415 - only with TLS

    config = TlsConfig(port=port, certificate=certificate.absolute(), key=key.absolute())
    tls_context(config)
    return config


def _is_loopback(host: str) -> bool:
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
        return all(ipaddress.ip_address(address).is_loopback for address in addresses)
    except (OSError, ValueError):
        return False
