"""Start a Ray cluster of two nodes on this machine, print the dashboard's address, obey lines on standard input.

python tests/support/ray_cluster.py PORT      lines: add, remove (the second node), end of input stops everything
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from ray.cluster_utils import Cluster

MEMORY = 100_000_000  # bytes of a node's object store; winnow keeps nothing there


def node() -> dict[str, Any]:
    """Return the arguments of a node, with a port for its agent: nodes of one machine would race for the usual one."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return {"num_cpus": 1, "object_store_memory": MEMORY, "dashboard_agent_listen_port": probe.getsockname()[1]}


def main(port: int) -> None:
    head = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
    cluster = Cluster(initialize_head=True, head_node_args={**head, **node()})
    nodes = [cluster.add_node(**node())]
    print("ready", flush=True)
    try:
        for line in sys.stdin:
            if line.strip() == "add":
                nodes.append(cluster.add_node(**node()))
            elif line.strip() == "remove":
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
            print("done", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
