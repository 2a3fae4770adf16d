"""Widths of codes: what selects one at run time, and which are built."""

from amaranth.lib import enum

__all__ = ["Width", "sorted_widths"]


class Width(enum.Enum, shape=2):
    """Width of a code or a lane, as decoders and encoders are told it."""

    BITS_2 = 0
    BITS_4 = 1
    BITS_8 = 2

    @property
    def bits(self):
        """The width in bits."""
        return 2 << self.value

    @classmethod
    def of(cls, bits):
        """Return the member for `bits`, which must be 2, 4 or 8."""
        return {member.bits: member for member in cls}[bits]


def sorted_widths(widths):
    """Return the widths to build in order, or raise ValueError when there is another or none."""
    allowed = {member.bits for member in Width}
    if not widths or not set(widths) <= allowed:
        raise ValueError(f"widths must be one or more of 2, 4 and 8, not {widths!r}")
    return tuple(sorted(set(widths)))
