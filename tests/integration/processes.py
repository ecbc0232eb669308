"""What runs on this machine because of a test, found by a mark in its environment."""

import os
import socket
from pathlib import Path

_LISTEN = "0A"


def marked(mark: str) -> dict[int, str]:
    """Find living processes that have ``NAME=value`` in the environment they were started with.

    A child inherits it, wherever it ends up in the tree of processes. Where there is no ``/proc`` nothing is found.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
        if mark.encode() in environment and int(folder.name) != os.getpid():
            found[int(folder.name)] = command
    return found


def listening_ports(pids: list[int]) -> set[int]:
    """Find the TCP ports on which these processes listen."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    ports = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTEN and inode in inodes:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports


def is_open(port: int) -> bool:
    """Tell whether somebody accepts connections at a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
