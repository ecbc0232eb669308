"""A Trino with its Hive connector, as a process on loopback, over the Glue and S3 of an AWS.

Athena's engine version 3 is made of it. It reads the same tables: the SerDes by their names, and `projection.*` of
partitions once its connector is told to.
"""

import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from common.errors import UserError
from infra.local.processes import Child, await_line
from tests.installing import installed

_FOLDER = Path(__file__).parent
_CACHE = _FOLDER.parents[1] / ".venv" / "trino"
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_MODULE = "jdk.incubator.vector"  # Trino needs it; Java runtimes without a compiler leave it out
_INSTALL_SECONDS = 900
_START_SECONDS = 300
_ANSWER_SECONDS = 120

Row = dict[str, Any]


class QueryError(Exception):
    """Trino could not answer."""


class Trino:
    """Answers queries of one Glue database."""

    def __init__(self, url: str, database: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"X-Trino-User": "test", "X-Trino-Catalog": "archive", "X-Trino-Schema": database},
            timeout=_ANSWER_SECONDS,
            trust_env=False,  # loopback is never asked through a proxy
        )

    def query(self, sql: str) -> list[Row]:
        """Give the rows of the answer, by column; decimals, dates and times are text.

        Raises
        ------
        QueryError
            The query failed.

        """
        pages = list(self._pages(sql))
        names = [column["name"] for page in pages[-1:] for column in page.get("columns", [])]
        return [dict(zip(names, values, strict=True)) for page in pages for values in page.get("data", [])]

    def _pages(self, sql: str) -> Iterator[dict[str, Any]]:
        page = self._client.post("/v1/statement", content=sql).raise_for_status().json()
        while "nextUri" in page:
            yield page
            page = self._client.get(page["nextUri"]).raise_for_status().json()
        if "error" in page:
            raise QueryError(page["error"]["message"])
        yield page


def command() -> list[str]:
    """Give the command that starts Trino and prints its URL; the first time, install it.

    Raises
    ------
    UserError
        It cannot be installed; the message says why.

    """
    java_home = _find_java()
    jars = _install(java_home)
    java = str(java_home / "bin" / "java")
    return [java, f"--add-modules={_MODULE}", "-Xmx1g", "-cp", f"{jars}/*", str(_FOLDER / "Serve.java")]


@contextmanager
def running(command: list[str], folder: Path, aws_url: str, database: str) -> Iterator[Trino]:
    """Run a Trino.

    Parameters
    ----------
    command
        What starts it.
    folder
        Where its log goes.
    aws_url
        The AWS with the database, and with the buckets that its tables lie in.
    database
        The database's name.

    Raises
    ------
    UserError
        It did not start; the message says why.

    """
    process = Child("trino", command, folder)
    try:
        trino = Trino(await_line(process, _START_SECONDS), database)
        trino.query(_create_catalog(aws_url))
        yield trino
    finally:
        process.kill()


def _create_catalog(aws_url: str) -> str:
    settings = {
        "hive.metastore": "glue",
        "hive.metastore.glue.region": "us-east-1",
        "hive.metastore.glue.endpoint-url": aws_url,
        "hive.metastore.glue.aws-access-key": "embedded",
        "hive.metastore.glue.aws-secret-key": "embedded",
        "hive.partition-projection-enabled": "true",
        "fs.s3.enabled": "true",
        "s3.region": "us-east-1",
        "s3.endpoint": aws_url,
        "s3.aws-access-key": "embedded",
        "s3.aws-secret-key": "embedded",
        "s3.path-style-access": "true",
    }
    told = ", ".join(f"\"{name}\" = '{value}'" for name, value in settings.items())
    return f"CREATE CATALOG archive USING hive WITH ({told})"


def _find_java() -> Path:
    """Find the home of a JDK that can run it: JAVA_HOME's, the PATH's, else where Linux keeps them."""
    on_path = Path(shutil.which("java") or "/usr/bin/java").resolve().parents[1]
    for home in (Path(os.environ.get("JAVA_HOME") or on_path), on_path, *sorted(Path("/usr/lib/jvm").glob("*"))):
        if _has_all(home):
            return home
    raise UserError("Trino needs a JDK of Java 25 or newer, and there is none: install one, and set JAVA_HOME to it")


def _has_all(home: Path) -> bool:
    java = home / "bin" / "java"
    if not java.exists() or not (home / "bin" / "javac").exists():
        return False
    listed = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False).stdout
    versions = dict(line.strip().split("@", 1) for line in listed.splitlines() if "@" in line)
    return _MODULE in versions and int(versions["java.base"].split(".")[0].split("-")[0]) >= 25


def _install(java_home: Path) -> Path:
    """Have Maven fetch Trino's jars (300 MB), unless it was done before; gives their folder."""
    maven = shutil.which("mvn")

    def install(folder: Path) -> None:
        if maven is None:
            raise UserError("Maven fetches Trino's jars, and there is no mvn: install it (apt-get install maven)")
        command = [maven, "-B", "-q", "-C", "-f", str(_FOLDER / "pom.xml"), _COPY_JARS, f"-DoutputDirectory={folder}"]
        environment = os.environ | {"JAVA_HOME": str(java_home)}
        try:
            subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = textwrap.shorten(str(error.stdout or error), 300)
            raise UserError(f"Maven could not fetch Trino, is there a network? {said}") from None

    return installed(_FOLDER / "pom.xml", _CACHE, install)
