"""Logic depth of a synthesised netlist: what lies between one register and the next.

A path begins at a register or an input and ends at a register or an output. Wires count nothing,
so depth compares designs and promises no clock.

The netlist may have a hierarchy: a path through modules is followed as if there were none.
"""

from graphlib import CycleError, TopologicalSorter

from dybit.hw.cell_arcs import Arcs, Depth, TimingError, cell_arcs

__all__ = ["logic_depth"]

# Where a path begins that begins at no port of the module.
_REGISTER = "register"

_WIRE = (Depth(),)


class _Model:
    """What a module is to the one around it.

    A front is a tuple of the depths that no other one exceeds in every count, deepest first.

    Members
    -------
    starts : {output: front} from a register inside
    ends : {input: front} to a register inside
    through : {output: {input: front}} of paths without a register
    inside : front from register to register
    """

    def __init__(self):
        self.starts, self.ends, self.through, self.inside = {}, {}, {}, ()

    @property
    def depth(self):
        """Front of all paths of the module, those from and to its ports included."""
        fronts = [self.inside, *self.starts.values(), *self.ends.values()]
        fronts += [front for sources in self.through.values() for front in sources.values()]
        return _front(depth for front in fronts for depth in front)

    def arcs(self, pins):
        """Return the paths of an instance with nets at its pins."""
        arcs = Arcs()
        for (port, i), front in self.starts.items():
            arcs.starts[pins[port][i]] = front
        for (port, i), front in self.ends.items():
            net = pins[port][i]
            arcs.ends[net] = _front((*arcs.ends.get(net, ()), *front))
        for (port, i), sources in self.through.items():
            arcs.through[pins[port][i]] = [
                (pins[source][k], front) for (source, k), front in sources.items()
            ]
        return arcs


def _front(depths):
    # No one number orders them: four LUTs, or three and a carry chain.
    found = []
    for depth in sorted(set(depths), reverse=True):
        if not any(all(a <= b for a, b in zip(depth, other, strict=True)) for other in found):
            found.append(depth)
    return tuple(found)


def _joined(first, second):
    """Return the front of paths made of one of `first` and then one of `second`."""
    if _WIRE in (first, second):
        return second if first == _WIRE else first
    return _front(Depth(*map(sum, zip(a, b, strict=True))) for a in first for b in second)


def _arrivals(inputs, cells):
    """Return {net: {where a path began: front}}; `inputs` are the nets of the ports."""
    arrivals = {net: {port: _WIRE} for net, port in inputs.items()}
    through = {}
    for arcs in cells:
        for net, front in arcs.starts.items():
            arrivals[net] = {_REGISTER: front}
        for net, sources in arcs.through.items():
            through.setdefault(net, []).extend(sources)
    order = TopologicalSorter({net: [s for s, _ in sources] for net, sources in through.items()})
    for net in order.static_order():
        if net in through:
            gathered = {begin: list(front) for begin, front in arrivals.get(net, {}).items()}
            for source, step in through[net]:
                for begin, front in arrivals.get(source, {}).items():
                    gathered.setdefault(begin, []).extend(_joined(front, step))
            arrivals[net] = {begin: _front(depths) for begin, depths in gathered.items()}
    return arrivals


def _ports(module, direction):
    """Return {(port, bit): net} of one direction."""
    return {
        (name, i): net
        for name, port in module["ports"].items()
        if port["direction"] == direction
        for i, net in enumerate(port["bits"])
        if isinstance(net, int)
    }


def _model(name, module, models):
    cells = module["cells"].values()
    drivers = {
        net: cell["type"]
        for cell in cells
        for pin, nets in cell["connections"].items()
        if cell["port_directions"][pin] == "output"
        for net in nets
    }
    arcs = [
        models[cell["type"]].arcs(cell["connections"])
        if cell["type"] in models
        else cell_arcs(cell, drivers)
        for cell in cells
    ]
    inputs = {net: port for port, net in _ports(module, "input").items()}
    try:
        arrivals = _arrivals(inputs, arcs)
    except CycleError:
        raise TimingError(f"Module must have no combinational loop, not {name!r}") from None

    model, inside, ends = _Model(), set(), {}
    for cell in arcs:
        for net, step in cell.ends.items():
            for begin, front in arrivals.get(net, {}).items():
                found = inside if begin == _REGISTER else ends.setdefault(begin, set())
                found.update(_joined(front, step))
    model.ends = {begin: _front(depths) for begin, depths in ends.items()}
    for child in {cell["type"] for cell in cells} & models.keys():
        inside.update(models[child].inside)
    model.inside = _front(inside)
    for port, net in _ports(module, "output").items():
        reached = dict(arrivals.get(net, {}))
        if _REGISTER in reached:
            model.starts[port] = reached.pop(_REGISTER)
        model.through[port] = reached
    return model


def logic_depth(netlist):
    """Return how deep the logic of each module is, with all it contains.

    Parameters
    ----------
    netlist : dict
        {name: module}, as `dybit.hw.synthesis.synthesise` returns it.

    Returns
    -------
    dict
        {name: list of Depth}: the paths that no other exceeds in LUT levels, carry chains and DSP
        blocks at once, the one of most LUT levels first. Empty where there is no path.

    Raises
    ------
    TimingError
        If there is a combinational loop or a cell of unknown timing.
    """
    uses = {
        name: {cell["type"] for cell in module["cells"].values()} & netlist.keys()
        for name, module in netlist.items()
    }
    models = {}
    for name in TopologicalSorter(uses).static_order():
        models[name] = _model(name, netlist[name], models)
    return {name: list(models[name].depth) for name in netlist}
