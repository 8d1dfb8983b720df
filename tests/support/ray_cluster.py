"""Start a Ray cluster of two nodes on this machine, print the dashboard's address, obey lines on standard input.

python tests/support/ray_cluster.py PORT      lines: add, remove (the second node), end of input stops everything
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

MEMORY = 100_000_000  # bytes of a node's object store; winnow keeps nothing there


def main(port: int) -> None:
    head = {"num_cpus": 1, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
    cluster = Cluster(initialize_head=True, head_node_args={**head, "object_store_memory": MEMORY})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=MEMORY)]
    print("ready", flush=True)
    try:
        for line in sys.stdin:
            if line.strip() == "add":
                nodes.append(cluster.add_node(num_cpus=1, object_store_memory=MEMORY))
            elif line.strip() == "remove":
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
            print("done", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
