"""The KCL's jars against the committed list of their SHA-256: `python -m consumer.jars`.

amazon-kclpy fetches them from Maven Central when it is installed and looks at no checksum, so this is what notices a
jar that is not the one that was tested. The list is as `sha256sum *.jar` writes it, and belongs to the version of
amazon-kclpy that is pinned.
"""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import amazon_kclpy

from common.errors import UserError, run_command

FOLDER = Path(amazon_kclpy.__path__[0], "jars")
LIST = Path(__file__).with_name("jars.sha256")
_REMEDY = (
    "install them anew with `pip install --force-reinstall --no-cache-dir amazon-kclpy` while Maven Central (or "
    "KCL_MVN_REPO_SEARCH_URL) can be reached; if that does not help, do not run them"
)


def check(folder: Path, expected: Mapping[str, str]) -> None:
    """Compare all jars of a folder with what is expected.

    Parameters
    ----------
    folder
        Where the jars are.
    expected
        SHA-256 in hexadecimal, by file name.

    Raises
    ------
    UserError
        A jar is missing, is another one, or nobody knows of it.

    """
    found = {jar.name: _sha256(jar) for jar in folder.glob("*.jar")}
    wrong = {
        "missing": expected.keys() - found.keys(),
        "unknown": found.keys() - expected.keys(),
        "not the ones that were tested": {
            name for name in expected.keys() & found.keys() if found[name] != expected[name]
        },
    }
    said = [f"{', '.join(sorted(names))} {what}" for what, names in wrong.items() if names]
    if said:
        raise UserError(
            f"the Kinesis Client Library's jars in {folder} are not as they should be ({'; '.join(said)}): {_REMEDY}"
        )


def read_list(path: Path) -> dict[str, str]:
    """Read a list as sha256sum writes it: SHA-256 by file name."""
    return {name: digest for digest, name in map(str.split, path.read_text(encoding="ascii").splitlines())}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(run_command(lambda: check(FOLDER, read_list(LIST))))
