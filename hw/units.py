"""Splits an Amaranth design into one RTLIL module per distinct component.

Amaranth writes every submodule instance as a module of its own and lets its ports follow
the data flow, so that 64 equal elements become 64 modules, and those at the edge of an
array differ from the others. Here every `wiring.Component` is converted by itself, with
exactly the ports of its signature, and equal ones are shared: one element, one module.
"""

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Fragment, Instance, ResetSignal
from amaranth.hdl._ast import SignalDict, Value, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.hdl._xfrm import TransformedElaboratable
from amaranth.lib import wiring

from dybit.hw.fingerprint import fingerprint

__all__ = ["Port", "Unit", "component_ports", "split", "unit_name"]

_PLACEHOLDER = "dybit__unit"


@dataclass(frozen=True, slots=True)
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
    clocks : dict of str to Value
        The ports that come from clock domains.
    children : Counter
        Instances of other units in it, by module name.
    labels : dict of str to str
        Wires of `text` that are a child's port, as ``<instance>__<port>``.
    """

    name: str
    component: str
    text: str
    ports: tuple[Port, ...]
    clocks: dict[str, Value]
    children: Counter[str] = field(default_factory=Counter)
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
        self.by_fingerprint = {}
        self.by_text = {}
        self.owner = SignalDict()  # signal that is no port -> component that uses it
        self.elaborate = Fragment.get
        self.inline = False

    @contextmanager
    def hooked(self):
        """Have `Fragment.get`, which every submodule passes through, come to `get`."""
        # Assigning to a method is what this is for: Amaranth has no other place to step in.
        Fragment.get = staticmethod(self.get)  # type: ignore[method-assign]
        try:
            yield
        finally:
            Fragment.get = staticmethod(self.elaborate)  # type: ignore[method-assign]

    def get(self, obj, platform):
        """Elaborate a component into an instance of its module, all else as ever."""
        if self.inline:
            return self.elaborate(obj, platform)
        if isinstance(obj, TransformedElaboratable):
            # EnableInserter and its like reach into all they enclose: that stays with its parent.
            self.inline = True
            try:
                return self.elaborate(obj, platform)
            finally:
                self.inline = False
        if not isinstance(obj, wiring.Component):
            return self.elaborate(obj, platform)
        key, parts = fingerprint(obj)
        unit = self.by_fingerprint.get(key)
        if unit is None:
            fragment = self.elaborate(obj, platform)
            # Memories are primitives, and a domain would be lost to those around.
            if type(fragment) is not Fragment or fragment.domains:
                return fragment
            name = f"{self.top}_{unit_name(type(obj).__name__)}"
            unit = self.by_fingerprint[key] = self.convert(obj, fragment, name)
        else:
            for part in parts:
                part._MustUse__used = True
        ports = {name: value for name, (value, _) in component_ports(obj).items()} | unit.clocks
        return Instance(
            unit.name, *((port.direction[0], port.name, ports[port.name]) for port in unit.ports)
        )

    def convert(self, component, fragment, name):
        """Return the unit of a component whose own components are instances already."""
        child_ports = SignalDict()
        for child, child_name, _ in fragment.subfragments:
            if self.stands_for_unit(child):
                # Known by name: what resets or enables its parent has made a copy of it.
                clocks = self.units[child.type].clocks
                for port, (value, _) in child.ports.items():
                    if port not in clocks:
                        child_ports[value] = f"{child_name}__{port}"
        ports = component_ports(component)
        design = fragment.prepare(ports, hierarchy=(_PLACEHOLDER,))
        self._check_reach(design, component)
        text, _ = rtlil.convert_fragment(design, name=_PLACEHOLDER, emit_src=False)
        if text in self.by_text:
            return self.by_text[text]
        unique, count = name, 1
        while unique in self.units:
            count += 1
            unique = f"{name}_{count}"
        wires = design.fragments[design.fragment].signal_names.items()
        clocks = _clocks(fragment)
        unit = self.units[unique] = self.by_text[text] = Unit(
            name=unique,
            component=type(component).__name__,
            text=text.replace(_PLACEHOLDER, unique),
            ports=(
                *(Port(port, "input", 1) for port in clocks),
                *(
                    Port(port, "input" if flow is PortDirection.Input else "output", len(value))
                    for port, (value, flow) in ports.items()
                ),
            ),
            clocks=clocks,
            children=Counter(self._children(fragment)),
            labels={
                f"\\{wire}": child_ports[signal] for signal, wire in wires if signal in child_ports
            },
        )
        return unit

    def stands_for_unit(self, fragment):
        """Return whether a fragment is an instance put in a component's place."""
        return isinstance(fragment, Instance) and fragment.type in self.units

    def _children(self, fragment):
        """Yield the name of each instance in a fragment, parts that are no component included."""
        for child, _, _ in fragment.subfragments:
            if self.stands_for_unit(child):
                yield child.type
            else:
                yield from self._children(child)

    def _check_reach(self, design, component):
        """Refuse a signal that two components share without a port.

        Alone, each would see it undriven: a constant where the design has a wire.
        """
        boundary = SignalDict((signal, name) for name, signal, _ in design.ports)
        for signal in design.signal_lca:
            if signal in boundary:
                continue
            other = self.owner.setdefault(signal, component)
            if other is not component:
                names = sorted({type(other).__name__, type(component).__name__})
                raise ValueError(
                    f"signal {signal.name!r} is used in {' and in '.join(names)}: "
                    "components must share signals through ports only"
                )


def _clocks(fragment):
    """Return {port name: clock or reset} of the domains that a prepared fragment takes."""
    clocks: dict[str, Value] = {}
    for name, domain in sorted(fragment.domains.items()):
        clocks[domain.clk.name] = ClockSignal(name)
        if domain.rst is not None:
            clocks[domain.rst.name] = ResetSignal(name, allow_reset_less=True)
    return clocks


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
    TypeError
        If the design is no component.
    ValueError
        If two components share a signal that is not a port.
    """
    if not isinstance(component, wiring.Component):
        raise TypeError(f"Design must be a wiring.Component, not {component!r}")
    splitter = _Splitter(name)
    with splitter.hooked():
        fragment = splitter.elaborate(component, None)
    splitter.convert(component, fragment, name)
    return list(splitter.units.values())
