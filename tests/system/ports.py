"""Ports for what a test starts."""

import random
import socket

# Below those that the kernel gives to outgoing connections (from 32768) and above those of Ray's workers (to 19999):
# a service that is started again on its port finds it free.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """One that nobody listens on now, and that nobody is given by chance later."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("There is no free port.")
