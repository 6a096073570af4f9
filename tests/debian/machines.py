"""Machines of Linux namespaces on a network of their own. Each has its own processes, home, /tmp, address and sshd.

No privilege is needed where users may make namespaces, and nothing outside of them is changed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parents[2]
USER = "veza"
HOME = Path("/home", USER)
# Where the command line of the repository is on a machine.
PROJECT = HOME / "veza"
PASSWD = f"root:x:0:0::/root:/bin/bash\n{USER}:x:1000:1000::{HOME}:/bin/bash\n"
# No other group: a group that is not mapped owns no terminal.
GROUP = f"{USER}:x:1000:\n"
SSHD = {"UsePAM": "no", "PidFile": "none", "PrintLastLog": "no", "HostKey": "/run/host_key"}
SSH = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "LogLevel": "ERROR",
    # A second apart: sshd may be a moment late.
    "ConnectionAttempts": "30",
    # It ends when its machine has.
    "ServerAliveInterval": "10",
}

# Whatever a machine is made of, once and for nothing: a network, a place in it, a port below 1024, a file system.
TRIAL = (
    "ip link add lan type bridge && ip link add one type veth peer name two"
    " && echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start"
    " && bwrap --unshare-all --uid 1000 --gid 1000 --ro-bind / / --proc /proc --dev /dev true"
)
PROGRAMS = {"unshare": "util-linux", "ip": "iproute2", "bwrap": "bubblewrap", "ssh": "openssh-client", "rsync": "rsync"}
NEW_NETWORK = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c")

Command = list[str | Path]


def why_not() -> str | None:
    """Why there can be no machines here; None when there can. A missing program is another matter: it fails."""
    for name, package in PROGRAMS.items():
        assert shutil.which(name) is not None, f"{name} is not installed: apt-get install {package}"
    done = subprocess.run([*NEW_NETWORK, TRIAL], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


class Lan:
    """10.0.0.0/24 as a context manager. All machines end with it, or with this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        (self.root / "passwd").write_text(PASSWD)
        (self.root / "group").write_text(GROUP)
        for name in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.root / name], check=True)
        bridge = "ip link add lan type bridge && ip addr add 10.0.0.254/24 dev lan && ip link set lan up && echo made"
        self._switch = subprocess.Popen(
            # It ends when its standard input does.
            [*NEW_NETWORK, f"{bridge} && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._stack.callback(self._switch.communicate)
        assert self._switch.stdout is not None
        if not self._switch.stdout.readline():
            self._stack.close()
            raise AssertionError("the network of the machines cannot be made")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def inside(self, *command: str | Path) -> Command:
        """The command, to be run on the network, beside its machines."""
        return ["nsenter", f"--target={self._switch.pid}", "--user", "--net", "--preserve-credentials", *command]

    def machine(self, name: str, address: str) -> "Machine":
        """Start one, with what Debian gives a new user, and whatever `root/name` has already."""
        home = self.root / name
        shutil.copytree("/etc/skel", home, dirs_exist_ok=True)
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (home / "veza").mkdir(exist_ok=True)
        shutil.copy(self.root / "key.pub", home / ".ssh" / "authorized_keys")
        told, tell = os.pipe()
        go, let_go = os.pipe()
        box: Command = ["bwrap", "--info-fd", str(tell), "--block-fd", str(go), "--hostname", name, *self._box(home)]
        log = self.root / f"{name}.log"
        with os.fdopen(told) as stream, os.fdopen(let_go, "w") as gate:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    self.inside(*box, *_sshd()),
                    pass_fds=[tell, go],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            os.close(tell)
            os.close(go)
            info = stream.read()
            assert info, f"{name} does not start: {log.read_text()}"
            first = int(json.loads(info)["child-pid"])
            self._stack.callback(_end, first, process)
            self._plug_in(name, address, first)
            # Only now, for what it starts with is sshd.
            gate.write("go")
        return Machine(self, address, home)

    def _box(self, home: Path) -> Iterator[str | Path]:
        yield from ("--unshare-all", "--uid", "1000", "--gid", "1000", "--die-with-parent", "--clearenv")
        for part in ("bin", "lib", "lib64", "sbin"):
            # Since Debian 12 these are links into /usr.
            yield from ("--symlink", f"usr/{part}", f"/{part}")
        yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run")  # noqa: S108
        for source, place in (
            (Path("/usr"), Path("/usr")),
            (Path("/etc"), Path("/etc")),
            (self.root / "passwd", Path("/etc/passwd")),
            (self.root / "group", Path("/etc/group")),
            (self.root / "host_key", Path("/run/host_key")),
            (Path(sys.base_prefix), Path(sys.base_prefix)),
        ):
            yield from ("--ro-bind", source, place)
        # The virtual environment is this one. It knows itself and the package by the paths they have here.
        yield from ("--bind", home, HOME, "--bind", home / "veza", REPOSITORY)
        for place in (PROJECT / ".venv", Path(sys.prefix)):
            yield from ("--ro-bind", sys.prefix, place)

    def _plug_in(self, name: str, address: str, process: int) -> None:
        on_it = f"nsenter --target={process} --net"
        steps = [
            f"ip link add {name} type veth peer name eth0 netns {process}",
            f"ip link set {name} master lan up",
            f"{on_it} ip addr add {address}/24 dev eth0",
            f"{on_it} ip link set eth0 up",
            # Ray's address for a machine is the one by which it would go out.
            f"{on_it} ip route add default via 10.0.0.254",
            # sshd's is 22, and it does not run as root.
            f"{on_it} sh -c 'echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start'",
        ]
        subprocess.run(self.inside("sh", "-c", " && ".join(steps)), check=True)


class Machine:
    """One of them. `home` is its user's, as seen from here."""

    def __init__(self, lan: Lan, address: str, home: Path) -> None:
        self.address = address
        self.home = home
        self._lan = lan

    def command(self, line: str, *, terminal: bool = False) -> Command:
        """A line for its shell, by ssh. With a terminal it hangs up on what runs when ssh ends."""
        return self._ssh("-tt" if terminal else "-T", line)

    def forwarding(self, doors: Mapping[Path, str]) -> Command:
        """Connections to Unix sockets here go from there to an address and port."""
        options = [f"-L{door}:{address}" for door, address in doors.items()]
        return self._ssh("-N", *options, "-oExitOnForwardFailure=yes")

    def _ssh(self, option: str, *more: str) -> Command:
        options = [f"-o{name}={value}" for name, value in SSH.items()]
        where: Command = ["-F", "none", "-i", self._lan.root / "key", f"{USER}@{self.address}"]
        return self._lan.inside("ssh", *options, option, *where, *more)


def _sshd() -> Command:
    program = shutil.which("sshd", path="/usr/sbin")
    assert program is not None, "sshd is not installed: apt-get install openssh-server"
    return [program, "-D", "-e", "-f", "none", *(f"-o{name}={value}" for name, value in SSHD.items())]


def _end(first: int, process: "subprocess.Popen[bytes]") -> None:
    """Kill the first process of a machine. The kernel kills the others and waits for them."""
    os.kill(first, signal.SIGKILL)
    process.wait()
