"""Where embedded services live, and as whom: accounts, closed directories, short paths for Unix sockets, free ports."""

import contextlib
import hashlib
import os
import pwd
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import msgspec

from veza.errors import StartupError

HOST = "127.0.0.1"
# sockaddr_un has room for 107 bytes; the longest name below the directory is "/postgres/.s.PGSQL.5432.lock".
MAX_SOCKET_DIRECTORY = 107 - len("/postgres/.s.PGSQL.5432.lock")


class Account(msgspec.Struct, frozen=True):
    """An account of this machine that PostgreSQL runs as when we are root, which it refuses to be."""

    name: str
    uid: int
    gid: int


def unprivileged_account(owned: Path) -> Account | None:
    """None unless we are root. The owner of `owned` when it exists, so that the choice never changes."""
    if os.geteuid() != 0:
        return None
    uid = owned.stat().st_uid if owned.exists() else 0
    try:
        entry = pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
    except KeyError:
        others = [entry for entry in pwd.getpwall() if entry.pw_uid]
        if uid:
            return Account(str(uid), uid, uid)
        if not others:
            raise StartupError(
                "PostgreSQL does not run as root, and this machine has no other account; set DATABASE_URL."
            ) from None
        entry = others[0]
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def enterable(path: Path, account: Account | None) -> bool:
    """Whether `account` may pass through `path` and every directory above it, to what lies below."""
    if account is None:
        return True
    return all(_may_enter(directory.stat(), account) for directory in (path, *path.parents))


def _may_enter(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def socket_directory(data_dir: Path, account: Account | None) -> Path:
    """A directory for Unix sockets, made when missing: in the data directory, or a short one in a temporary place
    when that path is too long for a socket or closed to `account`. The same for the same data directory.
    """
    inside = data_dir / "run" / "sockets"
    inside.mkdir(mode=0o711, parents=True, exist_ok=True)
    if len(os.fsencode(inside)) <= MAX_SOCKET_DIRECTORY and enterable(inside, account):
        return inside
    return scratch_directory(data_dir, account)


def scratch_directory(data_dir: Path, account: Account | None) -> Path:
    """Our own directory for `data_dir` under a temporary one, with a short path that `account` can enter."""
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    name = f"veza-{os.geteuid()}-{digest}"
    for base in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - ownership is checked
        path = base / name
        if len(os.fsencode(path)) > MAX_SOCKET_DIRECTORY or not base.is_dir() or not enterable(base, account):
            continue
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        # Somebody else may have made it first, to be given our sockets.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise StartupError(f"{path} belongs to somebody else; remove it, or set TMPDIR to another directory.")
        path.chmod(0o711 if account else 0o700)
        return path
    raise StartupError("There is no temporary directory for Unix sockets; set TMPDIR to a short, open path.")


def release(directory: Path) -> None:
    """Remove a directory of sockets, and the one made for it, if nothing else is in them."""
    with contextlib.suppress(OSError):
        directory.rmdir()
        directory.parent.rmdir()


def owned_directory(path: Path, account: Account | None) -> Path:
    """`path`, made when missing, for `account` alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account and path.stat().st_uid != account.uid:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700)
    return path


def readable_copy(sources: list[Path], target: Path) -> None:
    """Copy the trees `sources`, side by side, into `target`, open to every account. Replaces what is there."""
    shutil.rmtree(target, ignore_errors=True)
    for source in sources:
        shutil.copytree(source, target / source.name, symlinks=True)
    for directory, _, files in os.walk(target):
        os.chmod(directory, 0o755)  # noqa: S103 - programs, for any account to run
        for file in files:
            path = Path(directory, file)
            if not path.is_symlink():
                path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def free_port(remembered: Path) -> int:
    """A loopback port that nobody listens on: the one written in the file `remembered` where it can be, which is
    written there anew.
    """
    wanted = [0]
    with contextlib.suppress(FileNotFoundError, ValueError):
        wanted.insert(0, int(remembered.read_text()))
    for port in wanted:
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found = int(probe.getsockname()[1])
            break
    else:
        raise OSError("no free loopback port")
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(str(found))
    return found
