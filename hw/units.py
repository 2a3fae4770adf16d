"""Splits an Amaranth design into one RTLIL module per distinct component.

Amaranth writes every submodule instance as a module of its own and lets its ports follow
the data flow, so that 64 equal elements become 64 modules, and those at the edge of an
array differ from the others. Here every `wiring.Component` is converted by itself, with
exactly the ports of its signature, and equal results are shared: one element, one module.
"""

import re
from dataclasses import dataclass, field

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Fragment, Instance, ResetSignal
from amaranth.hdl._ast import SignalDict, Value, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.hdl._xfrm import TransformedElaboratable
from amaranth.lib import wiring

__all__ = ["Port", "Unit", "component_ports", "split", "unit_name"]

_PLACEHOLDER = "dybit__unit"


@dataclass(frozen=True, order=True, slots=True)
class Port:
    """One port of an emitted module."""

    name: str
    direction: str
    width: int


@dataclass(slots=True)
class Unit:
    """One emitted module: its RTLIL, its ports and what it instantiates.

    Members
    -------
    component : str
        Name of the class it was made from.
    children : dict of str to int
        Instances of other units directly inside, by module name.
    labels : dict of str to str
        Wires of `text` that are a child's port, as ``<instance>__<port>``.
    """

    name: str
    component: str
    text: str
    ports: tuple[Port, ...]
    children: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def unit_name(component_class):
    """Return the module name of a component class: ``MPDecoder`` gives ``mp_decoder``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", component_class)
    return words.lower()


def component_ports(component):
    """Return {flat port name: (value, direction)} of a component, in signature order."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        if isinstance(value, Value):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = (value, direction)
    return ports


class _Splitter:
    def __init__(self, top):
        self.top = top
        self.units = {}  # name -> Unit, children before parents
        self.by_content = {}  # (placeholder text) -> name
        self.owner = SignalDict()  # signal that is no port -> path of the component using it

    def split(self, component, fragment, name, path):
        """Convert one component and everything below it; return its unit."""
        children, child_ports = {}, SignalDict()
        self._replace_components(fragment, path, children, child_ports)
        ports = component_ports(component)
        design = fragment.prepare(ports, hierarchy=(_PLACEHOLDER,))
        self._check_reach(design, path)
        text, _ = rtlil.convert_fragment(design, name=_PLACEHOLDER, emit_src=False)
        shared = self.by_content.get(text)
        if shared is not None:
            return self.units[shared]
        unique, count = name, 1
        while unique in self.units:
            count += 1
            unique = f"{name}_{count}"
        unit = Unit(
            name=unique,
            component=type(component).__name__,
            text=text.replace(_PLACEHOLDER, unique),
            ports=self._unit_ports(design, ports),
            children=children,
            labels={
                f"\\{wire}": child_ports[signal]
                for signal, wire in design.fragments[design.fragment].signal_names.items()
                if signal in child_ports
            },
        )
        self.by_content[text] = unique
        self.units[unique] = unit
        return unit

    def _replace_components(self, fragment, path, children, child_ports):
        """Put an instance of a shared module in the place of every component below."""
        for index, (child, name, src_loc) in enumerate(fragment.subfragments):
            origins = child.origins or ()
            # A transformer (EnableInserter, DomainRenamer) reaches into all it encloses:
            # what it wraps stays with its parent.
            if any(isinstance(origin, TransformedElaboratable) for origin in origins):
                continue
            child_path = f"{path}.{name or index}"
            component = origins[0] if origins else None
            if (
                type(child) is not Fragment
                or not isinstance(component, wiring.Component)
                or any(not domain.local for domain in child.domains.values())
            ):
                self._replace_components(child, child_path, children, child_ports)
                continue
            kind = f"{self.top}_{unit_name(type(component).__name__)}"
            unit = self.split(component, child, kind, child_path)
            children[unit.name] = children.get(unit.name, 0) + 1
            values = component_ports(component)
            connections = []
            for port in unit.ports:
                if port.name in values:
                    value, _ = values[port.name]
                    child_ports[value] = f"{name or index}__{port.name}"
                else:
                    value = self._domain_signal(child, port.name)
                connections.append((port.direction[0], port.name, value))
            instance = Instance(unit.name, *connections, src_loc=src_loc)
            fragment.subfragments[index] = (instance, name, src_loc)

    @staticmethod
    def _domain_signal(fragment, name):
        for domain in fragment.domains.values():
            if domain.clk.name == name:
                return ClockSignal(domain.name)
            if domain.rst is not None and domain.rst.name == name:
                return ResetSignal(domain.name, allow_reset_less=True)
        raise AssertionError(f"port {name!r} belongs to no clock domain")

    @staticmethod
    def _unit_ports(design, ports):
        clocks = sorted(
            Port(name, "input", len(signal))
            for name, signal, _ in design.ports
            if name not in ports
        )
        return (
            *clocks,
            *(
                Port(name, "input" if flow is PortDirection.Input else "output", len(value))
                for name, (value, flow) in ports.items()
            ),
        )

    def _check_reach(self, design, path):
        """Refuse a signal that two components share without a port.

        Alone, each would see it undriven: a constant where the design has a wire.
        """
        boundary = SignalDict((signal, name) for name, signal, _ in design.ports)
        for signal in design.signal_lca:
            if signal in boundary:
                continue
            other = self.owner.setdefault(signal, path)
            if other != path:
                raise ValueError(
                    f"signal {signal.name!r} is used in {other} and in {path}: "
                    "components must share signals through ports only"
                )


def split(component, name):
    """Convert a component into units, children before parents, the top last.

    Parameters
    ----------
    component : wiring.Component
        Design to convert; it is elaborated here, once.
    name : str
        Name of the top module, and prefix of all others.

    Raises
    ------
    ValueError
        If two components share a signal that is not a port.
    """
    if not isinstance(component, wiring.Component):
        raise TypeError(f"Design must be a wiring.Component, not {component!r}")
    splitter = _Splitter(name)
    splitter.split(component, Fragment.get(component, None), name, name)
    return list(splitter.units.values())
