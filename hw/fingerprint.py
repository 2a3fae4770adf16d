"""Tells components that elaborate alike without elaborating them.

An array holds hundreds of equal elements. Two components of one class whose attributes are
equal, signals being equal when all about them but their identity is, make the same module.
"""

from amaranth.hdl import Elaboratable, Signal, Value, ValueCastable
from amaranth.lib import wiring

__all__ = ["fingerprint"]


def fingerprint(component):
    """Return a hashable key, equal for components that make the same module.

    Attributes compare by their own equality, so that an object of unknown kind equals none
    but itself: when in doubt, components differ.

    Returns
    -------
    key : hashable
    parts : list of Elaboratable
        The component and those it holds.
    """
    visit = _Visit()
    return visit.key(component), visit.parts


class _Visit:
    def __init__(self):
        self.seen = {}  # id -> number in the order of visit, so that sharing shows in the key
        self.parts = []

    def key(self, value):
        if isinstance(value, (Signal, wiring.Component, wiring.PureInterface)):
            if id(value) in self.seen:
                return ("seen", self.seen[id(value)])
            self.seen[id(value)] = len(self.seen)
        if isinstance(value, Elaboratable):
            self.parts.append(value)
        match value:
            case Signal():
                shape = (value.name, len(value), value.shape().signed, repr(value.shape()))
                return (*shape, value.init, value.reset_less, self.key(value.attrs))
            case wiring.Component():
                members = value.signature.flatten(value)
                flows = tuple((path, member.flow) for path, member, _ in members)
                return (type(value), flows, self._attributes(value))
            case wiring.PureInterface():
                return (type(value), self._attributes(value))
            case ValueCastable():
                return (type(value), repr(value.shape()), self.key(Value.cast(value)))
            case list() | tuple():
                return (type(value), *map(self.key, value))
            case dict():
                return (dict, *((self.key(name), self.key(item)) for name, item in value.items()))
        try:
            hash(value)
        except TypeError:
            return object()
        return (type(value), value)

    def _attributes(self, value):
        # Signatures know the shape and flow of ports; the ports themselves have told that.
        return tuple(
            (name, self.key(item))
            for name, item in vars(value).items()
            if not isinstance(item, wiring.Signature)
        )
