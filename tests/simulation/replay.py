"""Print everything of one run: its trace, and what clients and nodes saw, as bytes."""

import sys

from raftq.testing.facts import dump_facts
from raftq.testing.history import dump_history
from raftq.testing.sim.cluster import SimCluster, run_in
from raftq.testing.sim.scenarios import SCENARIOS


def main(scenario: str, seed: str) -> None:
    """Run a scenario and print."""
    known = SCENARIOS[scenario]

    def show(cluster: SimCluster) -> None:
        out = sys.stdout.buffer
        out.write("\n".join(cluster.world.trace).encode() + b"\n")
        for line in (*dump_history(cluster.history), *dump_facts(cluster.observer.facts)):
            out.write(line)

    run_in(SimCluster(seed, known.plan), known.act, show)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
