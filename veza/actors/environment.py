"""What Ray's processes read from the environment, and the token that they know each other by. Imports no Ray."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from veza import metrics
from veza.errors import StartupError

# What Ray does for its own dashboard and for tasks in their millions is idle work here.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Dead actors are remembered for `ray list actors`; a long-lived cluster should not grow with them.
    "RAY_maximum_gcs_destroyed_actor_cached_count": "100",
    # Batches of some hundred KB go inside the call; the object store costs more than the copy.
    "RAY_max_direct_call_object_size": str(1024 * 1024),
    # Ray lets its workers give way to everything else (nice 15). Ours are the server.
    "RAY_worker_niceness": "0",
    # No record of each call, which nobody reads.
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    # A machine that is busy with something else needs longer than Ray's 10 s.
    "RAY_raylet_start_wait_time_s": "60",
    # Ray would end workers when memory runs short; which of ours may end is not for it to choose.
    "RAY_memory_monitor_refresh_ms": "0",
}
# Of several nodes, one that died should be known to be dead in five seconds or so, not in thirty.
HEALTH_ENVIRONMENT = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}
OBJECT_STORE_BYTES = 100 * 1024 * 1024

TOKEN_FILE = Path(".ray", "auth_token")


def node_environment(environment: Mapping[str, str], data_dir: Path, *, head: bool) -> dict[str, str]:
    """The variables for a node that our actors are to run on. Makes the directory of its metrics, empty; on the first
    node of a cluster a token too, unless there is one. Raises StartupError.
    """
    directory = data_dir / "run" / "metrics"
    try:
        metrics.prepare(directory)
    except OSError as error:
        raise StartupError(f"VEZA_DATA_DIR {data_dir} cannot be used: {error.strerror} ({directory}).") from error
    ours = {**RAY_ENVIRONMENT, **HEALTH_ENVIRONMENT, metrics.DIRECTORY_VARIABLE: str(directory)}
    if "RAY_AUTH_MODE" not in environment:
        # `ray start --address` and `ray.init(address)` give a token only when they are told to.
        ours["RAY_AUTH_MODE"] = "token"
        _check_token(environment, make=head)
    return {**ours, **environment}


def _check_token(environment: Mapping[str, str], *, make: bool) -> None:
    path = Path(environment.get("HOME", "~")).expanduser() / TOKEN_FILE
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH") or path.is_file():
        return
    if not make:
        raise StartupError(f"This machine has no Ray token; copy {path} of the cluster's head here.")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        stream.write(secrets.token_hex(32))
