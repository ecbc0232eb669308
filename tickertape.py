"""The console command ``tickertape``: it hands over to the part that was asked for, and imports no other."""

import sys
from importlib import import_module

from common.proxies import spare_loopback

_COMMANDS = {
    "produce": ("producer.__main__", "publish quotes to the stream"),
    "consume": ("consumer.daemon", "process the stream's shards until stopped"),
    "notify": ("desk.notify.__main__", "pass alerts on to people's chats until stopped"),
    "check": ("consumer.check", "tell whether everything that the commands need in AWS is there"),
    "health": ("common.health", "tell whether the consumer, producer or notifier that runs here makes progress"),
    "latest": ("desk.commands.latest", "show the newest tick of each symbol"),
    "history": ("desk.commands.history", "show the ticks of a symbol"),
    "alerts": ("desk.commands.alerts", "show alerts"),
    "quarantine": ("desk.commands.quarantine", "show records that are no ticks, and publish them again"),
    "sql": ("desk.commands.sql", "ask the archive in SQL"),
    "backtest": ("desk.backtest.__main__", "tell what rules would have said of recorded ticks"),
    "local": ("infra.local.__main__", "run the whole pipeline on this machine, on an embedded AWS"),
    "dashboard": ("desk.dashboard.__main__", "serve a live page of the market, its alerts and the pipeline"),
}
_EXTRAS = {"local": "local", "dashboard": "desk"}
"""Commands that need more than the two containers have, and the extra that brings it."""


def main() -> None:
    """Run one of the commands; each has ``main(arguments)`` and its own ``--help``."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in {"-h", "--help"}:
        print(_usage())  # noqa: T201  (help belongs on stdout)
        sys.exit(0)
    if name not in _COMMANDS:
        sys.stderr.write(f"tickertape: there is no command '{name}'\n{_usage()}\n")
        sys.exit(2)
    module, _ = _COMMANDS[name]
    spare_loopback()
    try:
        command = import_module(module)
    except ModuleNotFoundError as missing:
        if name not in _EXTRAS:
            raise
        sys.exit(
            f"tickertape: {name} needs {missing.name}, not installed here: pip install 'tickertape[{_EXTRAS[name]}]', "
            "or use the image tickertape:local (docker build --target local)"
        )
    sys.exit(command.main(arguments))


def _usage() -> str:
    lines = [f"  {name:10} {purpose}" for name, (_, purpose) in _COMMANDS.items()]
    return "\n".join(["usage: tickertape COMMAND [--help] [flags]", "", *lines])


if __name__ == "__main__":
    main()
