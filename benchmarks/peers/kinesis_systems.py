"""The servers of the Kinesis API: streamd in its variants, kinesalite, kinesis-local and moto."""

import importlib.metadata
import importlib.util
import shutil
import sys
import threading
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.kinesis_calls import (
    CREDENTIALS,
    Codec,
    KinesisCaller,
    KinesisPuts,
    KinesisReads,
    PutShape,
    ReadPlace,
)
from benchmarks.load import Interleaved, Load, Wire
from benchmarks.peers.systems import LoadSettings, Stored
from benchmarks.programs import Program, free_port, started_program, wait_until

__all__ = ["Kinesalite", "KinesisLocal", "KinesisSystem", "Moto", "Streamd"]

_SHARD_QUOTA = 20_000
_MIXED_PUT_COUNT = 4
_STATE_LOOK_COUNT_MAX = 3000
_STATE_LOOK_PAUSE_S = 0.01
_EMPTY_READ_COUNT_MAX = 20


class KinesisSystem(ABC):
    """What all servers of the Kinesis API have in common; each says how it is started."""

    speaks_kinesis = True
    is_ours = False

    def __init__(self, name: str, durability: str, *, is_signed: bool = True) -> None:
        self.name = name
        self.durability = durability
        self.program: Program | None = None
        self._is_signed = is_signed
        self._port = 0
        self._caller: KinesisCaller | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @abstractmethod
    def absence(self) -> str | None:
        """Give the command that installs what is missing."""

    @abstractmethod
    def version(self) -> str:
        """Tell the version."""

    @abstractmethod
    def command(self, folder: Path) -> "Command":
        """Give the command that starts it."""

    def start(self, folder: Path) -> float:
        """Start it; the seconds until it first answered a call."""
        self._port = free_port()
        command = self.command(folder)
        self.program = started_program(
            command.words, folder=folder, environment=command.environment, work_folder=command.work_folder
        )
        caller = KinesisCaller(self._port, is_signed=self._is_signed)

        def answers() -> bool:
            caller.close()
            caller.call("ListStreams", {})
            return True

        took_s = wait_until(answers, program=self.program)
        self._caller = caller
        return took_s

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._caller is not None:
            self._caller.close()
        if self.program is not None:
            self.program.stop()
        self._caller = self.program = None

    def create(self, stream: str, *, shard_count: int) -> None:
        """Make a stream and wait until it is active."""
        self._call("CreateStream", {"StreamName": stream, "ShardCount": shard_count})
        pause = threading.Event()
        for _ in range(_STATE_LOOK_COUNT_MAX):
            summary = self._call("DescribeStreamSummary", {"StreamName": stream})["StreamDescriptionSummary"]
            if summary["StreamStatus"] == "ACTIVE":
                return
            pause.wait(_STATE_LOOK_PAUSE_S)
        raise RuntimeError(f"{self.name}: {stream} did not become active")

    def drop(self, stream: str) -> None:
        """Delete a stream."""
        self._call("DeleteStream", {"StreamName": stream})

    def put_load(self, stream: str, shape: PutShape, settings: LoadSettings) -> Load:
        """Give the load of PutRecord or PutRecords; there is no pipeline."""
        source = KinesisPuts(port=self._port, stream=stream, shape=shape, is_signed=self._is_signed)
        return self._load(source, settings)

    def stored(self, stream: str) -> Stored:
        """Count by reading every shard from its beginning."""
        record_count = byte_count = 0
        for shard_id in self._shard_ids(stream):
            for _, records in self._walk(stream, shard_id, limit=10_000):
                record_count += len(records)
                byte_count += sum(_decoded_byte_count(record["Data"]) for record in records)
        return Stored(record_count, byte_count)

    def read_load(self, stream: str, settings: LoadSettings, *, limit: int, codec: str) -> Load | None:
        """Give the load of GetRecords at every place of the first shard that gives as much as was asked for."""
        shard_id = self._shard_ids(stream)[0]
        places = [
            ReadPlace(iterator, len(records), sum(_decoded_byte_count(record["Data"]) for record in records))
            for iterator, records in self._walk(stream, shard_id, limit=limit)
        ]
        most = max(place.record_count for place in places)
        source = KinesisReads(
            port=self._port,
            places=[place for place in places if place.record_count == most],
            is_signed=self._is_signed,
            codec=Codec(codec),
        )
        return self._load(source, settings)

    def mixed_load(self, stream: str, shape: PutShape, settings: LoadSettings, *, limit: int) -> Load | None:
        """Give the load of four PutRecord to one GetRecords of the oldest records."""
        shard_id = self._shard_ids(stream)[0]
        iterator, records = next(self._walk(stream, shard_id, limit=limit))
        place = ReadPlace(iterator, len(records), sum(_decoded_byte_count(record["Data"]) for record in records))
        puts = KinesisPuts(port=self._port, stream=stream, shape=shape, is_signed=self._is_signed)
        reads = KinesisReads(port=self._port, places=[place], is_signed=self._is_signed)
        return self._load(Interleaved(puts, reads, _MIXED_PUT_COUNT), settings)

    def poller(self, stream: str) -> "KinesisPoller":
        """Give a producer and a consumer."""
        return KinesisPoller(self._port, stream, is_signed=self._is_signed)

    def _load(self, source: KinesisPuts | KinesisReads | Interleaved, settings: LoadSettings) -> Load:
        return Load(
            port=self._port,
            wire=Wire.HTTP,
            source=source,
            connection_count=settings.connection_count,
            duration_s=settings.duration_s,
        )

    def _call(self, operation: str, document: dict[str, Any]) -> Any:
        assert self._caller is not None, "only a system that was started is called"
        return self._caller.call(operation, document)

    def _shard_ids(self, stream: str) -> list[str]:
        page = self._call("ListShards", {"StreamName": stream})
        shards = page["Shards"]
        while page.get("NextToken"):
            page = self._call("ListShards", {"NextToken": page["NextToken"]})
            shards += page["Shards"]
        return [shard["ShardId"] for shard in shards]

    def _walk(self, stream: str, shard_id: str, *, limit: int) -> Iterator[tuple[str, list[Any]]]:
        """Read a shard from its beginning to its end: the iterator of each call and what it gave."""
        place = {"StreamName": stream, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = self._call("GetShardIterator", place)["ShardIterator"]
        empty_count = 0
        while iterator and empty_count < _EMPTY_READ_COUNT_MAX:
            answer = self._call("GetRecords", {"ShardIterator": iterator, "Limit": limit})
            if answer["Records"]:
                empty_count = 0
                yield iterator, answer["Records"]
            elif answer.get("MillisBehindLatest", 0) == 0:
                return
            else:
                empty_count += 1
            iterator = answer.get("NextShardIterator")


class KinesisPoller:
    """Puts with one connection and polls the only shard with another."""

    def __init__(self, port: int, stream: str, *, is_signed: bool) -> None:
        self._stream = stream
        self._producer = KinesisCaller(port, is_signed=is_signed)
        self._consumer = KinesisCaller(port, is_signed=is_signed)
        shard_id = self._consumer.call("ListShards", {"StreamName": stream})["Shards"][0]["ShardId"]
        place = {"StreamName": stream, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        self._iterator = self._consumer.call("GetShardIterator", place)["ShardIterator"]

    def put(self, data: bytes) -> None:
        """Put one record."""
        record = {"StreamName": self._stream, "PartitionKey": "k", "Data": b64encode(data).decode()}
        self._producer.call("PutRecord", record)

    def poll(self) -> list[bytes]:
        """Call GetRecords once."""
        answer = self._consumer.call("GetRecords", {"ShardIterator": self._iterator, "Limit": 1000})
        self._iterator = answer["NextShardIterator"]
        return [b64decode(record["Data"]) for record in answer["Records"]]

    def close(self) -> None:
        """Hang up."""
        self._producer.close()
        self._consumer.close()


@dataclass(frozen=True, slots=True)
class Command:
    """How a program is started."""

    words: Sequence[str]
    environment: Mapping[str, str] | None = None
    work_folder: Path | None = None


class Streamd(KinesisSystem):
    """streamd from this tree, with so many workers, verifying signatures or not."""

    is_ours = True

    def __init__(self, *, worker_count: int, is_signed: bool) -> None:
        name = f"streamd, {worker_count} worker{'s' if worker_count > 1 else ''}{', signed' if is_signed else ''}"
        super().__init__(name, "synced before each answer", is_signed=is_signed)
        self._worker_count = worker_count

    def absence(self) -> str | None:
        """Find nothing missing: it is this tree."""
        return None

    def version(self) -> str:
        """Tell the version."""
        return importlib.metadata.version("streamd")

    def command(self, folder: Path) -> Command:
        """Give ``streamd serve``."""
        words = [sys.executable, "-m", "streamd", "serve", "--port", str(self._port), "--data", str(folder / "data")]
        words += ["--workers", str(self._worker_count), "--shard-quota", str(_SHARD_QUOTA), "--log-level", "warning"]
        if self._is_signed:
            keys = folder / "keys.toml"
            folder.mkdir(parents=True, exist_ok=True)
            keys.write_text(f'[[key]]\nid = "{CREDENTIALS.access_key_id}"\nsecret = "{CREDENTIALS.secret}"\n')
            keys.chmod(0o600)
            words += ["--auth", str(keys)]
        return Command(words)


class _NodePackage(KinesisSystem):
    """A server that is an npm package in the benchmarks' own folder of packages."""

    def __init__(self, package: str, durability: str, npm_folder: Path) -> None:
        super().__init__(package, durability)
        self._npm_folder = npm_folder
        self._package_folder = npm_folder / "node_modules" / package

    def absence(self) -> str | None:
        """Look for node and for the package."""
        if shutil.which("node") is None:
            return "apt-get install nodejs npm"
        if not self._package_folder.is_dir():
            return f"npm install --prefix {self._npm_folder} {self.name}"
        return None

    def version(self) -> str:
        """Read the package's version."""
        return str(orjson.loads((self._package_folder / "package.json").read_bytes())["version"])


class Kinesalite(_NodePackage):
    """kinesalite on LevelDB."""

    def __init__(self, npm_folder: Path) -> None:
        super().__init__("kinesalite", "LevelDB, never synced", npm_folder)

    def command(self, folder: Path) -> Command:
        """Give ``kinesalite --path``."""
        words = ["node", str(self._package_folder / "cli.js"), "--port", str(self._port), "--path", str(folder / "db")]
        words += ["--createStreamMs", "1", "--deleteStreamMs", "1", "--shardLimit", str(_SHARD_QUOTA)]
        return Command(words)


class KinesisLocal(_NodePackage):
    """kinesis-local (kinesis-mock), which writes all it holds to a file now and then."""

    def __init__(self, npm_folder: Path) -> None:
        super().__init__("kinesis-local", "memory, a JSON file every 5 s", npm_folder)

    def command(self, folder: Path) -> Command:
        """Give its script and the environment that is its settings."""
        environment = {
            "KINESIS_MOCK_PLAIN_PORT": str(self._port),
            "KINESIS_MOCK_TLS_PORT": str(free_port()),
            "SHARD_LIMIT": str(_SHARD_QUOTA),
            "CREATE_STREAM_DURATION": "1ms",
            "DELETE_STREAM_DURATION": "1ms",
            "SHOULD_PERSIST_DATA": "true",
            "PERSIST_PATH": str(folder / "data"),
            "LOG_LEVEL": "ERROR",
        }
        (folder / "data").mkdir(parents=True, exist_ok=True)
        # It looks for the certificate of its other port in the folder that it is started in.
        return Command(["node", "main.js"], environment, self._package_folder)


class Moto(KinesisSystem):
    """moto's server."""

    def __init__(self) -> None:
        super().__init__("moto", "memory")

    def absence(self) -> str | None:
        """Look for moto with its server."""
        has_all = importlib.util.find_spec("moto") and importlib.util.find_spec("flask_cors")
        return None if has_all else "pip install 'moto[server]'"

    def version(self) -> str:
        """Tell the version."""
        return importlib.metadata.version("moto")

    def command(self, folder: Path) -> Command:
        """Give moto's server."""
        folder.mkdir(parents=True, exist_ok=True)
        return Command([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)])


def _decoded_byte_count(text: str) -> int:
    return len(text) * 3 // 4 - text.count("=", -2)
