"""Where in a model of modules the outputs of a network's nodes are seen, whatever the framework."""

from collections.abc import Container

from weights.networks.network import Network, Node
from weights.networks.operations import Scale


def places(network: Network, paths: Container[str]) -> dict[str, Node]:
    """The node that each module computes.

    A node is seen at its module. The last node of an SE block has another module's name where the block stands at the
    end of a unit; a framework may then show it at the block.

    Args:
        network: the network.
        paths: the paths of the model's modules, "stage1.0.se".

    Returns:
        Nodes by module path, in the order of the nodes; those that no module computes are left out.
    """
    found: dict[str, Node] = {}
    for node in network.nodes:
        candidates = (node.module, node.block) if isinstance(node.op, Scale) else (node.module,)
        path = next((path for path in candidates if path and path in paths), None)
        if path is not None:
            found[path] = node
    return found
