"""Prints what the self-test found, a line a mode, as characters for a serial line."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.mode import mode_case, mode_shape

__all__ = ["SIGNATURE_BITS", "SelfTestReport"]

SIGNATURE_BITS = 64
_VECTOR_BITS = 32
_NAME, _VERDICT = "\0", "\3"
_VECTORS, _SIGNATURE = "\1", "\2"
_LINE = (
    f"{_NAME * 4} {_VECTORS * (_VECTOR_BITS // 4)} vectors, "
    f"signature {_SIGNATURE * (SIGNATURE_BITS // 4)} {_VERDICT * 4}\r\n"
)
_LAST = f"self-test {_VERDICT * 4}\r\n"
_VERDICTS = ("FAIL", "pass")


class SelfTestReport(wiring.Component):
    """Turns results into lines, one character after the other.

    Parameters
    ----------
    array : dybit.quant.array_config.ArrayConfig

    Members
    -------
    i : In(stream.Signature)
        ``mode``, ``vectors``, ``signature`` and ``passed``; with ``last``, the line after the last
        mode, of which ``passed`` is all. Accepted when the line before it is out.
    o : Out(stream.Signature(8))
    """

    def __init__(self, array):
        self.array = array
        result = data.StructLayout(
            {
                "mode": mode_shape(array),
                "vectors": _VECTOR_BITS,
                "signature": SIGNATURE_BITS,
                "passed": 1,
                "last": 1,
            }
        )
        super().__init__({"i": In(stream.Signature(result)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        result = Signal(self.i.payload.shape(), reset_less=True)
        place = Signal(range(max(len(_LINE), len(_LAST))))
        picked = Signal(data.StructLayout({"digit": 4, "text": 8, "is_digit": 1}), reset_less=True)
        # A line is slow, so that a character may take a cycle to pick and one to spell.
        with m.If(result.last):
            self._pick(m, result, place, picked, _LAST)
        with m.Else():
            self._pick(m, result, place, picked, _LINE)
        ten = ord("A") - 10
        spelt = Mux(picked.digit < 10, ord("0"), ten) + picked.digit
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [result.eq(self.i.payload), place.eq(0)]
                with m.If(self.i.valid):
                    m.next = "PICK"
            with m.State("PICK"):
                m.next = "SPELL"
            with m.State("SPELL"):
                m.d.sync += [
                    self.o.payload.eq(Mux(picked.is_digit, spelt, picked.text)),
                    self.o.valid.eq(1),
                ]
                m.next = "SEND"
            with m.State("SEND"), m.If(self.o.ready):
                m.d.sync += [self.o.valid.eq(0), place.eq(place + 1)]
                m.next = "PICK"
                with m.If(place == Mux(result.last, len(_LAST), len(_LINE)) - 1):
                    m.next = "IDLE"
        return m

    def _pick(self, m, result, place, picked, text):
        with m.Switch(place):
            for index, character in enumerate(text):
                start = index - text.index(character)
                with m.Case(index):
                    m.d.sync += picked.is_digit.eq(character in (_VECTORS, _SIGNATURE))
                    if character == _NAME:
                        self._name(m, result.mode, picked, start)
                    elif character == _VECTORS:
                        m.d.sync += picked.digit.eq(_digit(result.vectors, start))
                    elif character == _SIGNATURE:
                        m.d.sync += picked.digit.eq(_digit(result.signature, start))
                    elif character == _VERDICT:
                        fail, passed = (ord(verdict[start]) for verdict in _VERDICTS)
                        m.d.sync += picked.text.eq(Mux(result.passed, passed, fail))
                    else:
                        m.d.sync += picked.text.eq(ord(character))

    def _name(self, m, mode, picked, start):
        with m.Switch(mode):
            for index, built in enumerate(self.array.modes):
                with mode_case(m, self.array, index):
                    m.d.sync += picked.text.eq(ord(built.name[start]))


def _digit(number, start):
    """Return the hexadecimal digit at a place of a number, the highest first."""
    return number[len(number) - 4 * (start + 1) :][:4]
