"""The multiplier of an element, taken apart for proofs: products first, then their sums.

Solvers do not finish on both at once. So it is proved that each product of two narrow lanes is that
of their integers, and that each multiplier of wider lanes is given theirs; and then, with all
products replaced by any numbers up to the largest, that each lane is the sum of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dybit.hw.esb_operand import ESBOperand
from dybit.hw.mantissa_multiplier import MantissaMultiplier
from dybit.hw.mode import mode_shape
from dybit.hw.operand import activation_operand, weight_operand
from dybit.hw.wide_multiplier import FloatingMultiplier
from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from tests.formal.definitions import dybit_integer, esb_integer, lookup
from tests.formal.harness import harness, module_of
from tests.formal.sat import counterexample, edited, verilog_of

__all__ = ["MultiplierDesign", "cut"]


def cut(verilog: str, signal: str, port: str) -> str:
    """Return a design in which a signal is anything whatever, not what a port gives it."""
    verilog = edited(verilog, f".{port}({signal})", f".{port}()")
    found = re.search(rf"^  wire (.*\b{signal};)$", verilog, re.MULTILINE)
    assert found, signal
    return edited(verilog, found[0], f"  (* anyseq *)\n  reg {found[1]}")


_END = "endmodule\n"


def lane_integers(spec: Any, bits: int) -> list[int]:
    """Return the integer of each code of a narrow lane, by what `hw.operand` says of them."""
    codes = range(1 << spec.code_bits(bits))
    if isinstance(spec, ESBOperand):
        k = spec.format(bits).k
        magnitudes = [esb_integer(code, bits, k) for code in range(8)]
        return [0] * (len(codes) - 8) + magnitudes
    if bits == 4 and spec.run_time_limits:
        # Odd part, less its lowest bit, below an exponent of one more; 0 is the number 0.
        fields = [divmod(code, len(codes) // 8) for code in codes]
        return [(2 * odd + 1) * 2**exponent // 2 * (exponent > 0) for exponent, odd in fields]
    limit = 2 if bits == 2 else spec.limit
    return [dybit_integer(code, spec.code_bits(bits), limit) for code in codes]


def lane_module(name: str, spec: Any, bits: int) -> tuple[str, int]:
    """Return a module from a lane to its integer, and the lane's bits."""
    if bits == 8 and spec.linear:
        size = spec.integer_bits
        return _lane(name, size, "assign integer_o = lane;"), size
    if bits == 8:
        # Sign, significand, three times the significand, exponent.
        tripled, exponent = 1 + spec.significand_bits, 3 + 2 * spec.significand_bits
        size = exponent + spec.exponent_bits
        body = (
            f"wire [23:0] magnitude = lane[{tripled - 1}:1] << ({{1'b0, lane}} >> {exponent}); "
            f"always @* assume (lane[{exponent - 1}:{tripled}] == 3 * lane[{tripled - 1}:1]); "
            "assign integer_o = lane[0] ? -magnitude : magnitude;"
        )
        return _lane(name, size, body), size
    integers = lane_integers(spec, bits)
    size = spec.code_bits(bits) + 1
    body = (
        f"wire [23:0] magnitude; {name}_table of_code(.code(lane[{size - 1}:1]), "
        ".integer_o(magnitude)); assign integer_o = lane[0] ? -magnitude : magnitude;"
    )
    return lookup(f"{name}_table", integers) + _lane(name, size, body), size


def _lane(name: str, size: int, body: str) -> str:
    head = f"input signed [{size - 1}:0] lane, output signed [23:0] integer_o"
    return f"module {name}({head});\n  {body}\nendmodule\n"


@dataclass(frozen=True)
class MultiplierDesign:
    """The multiplier of an array in one of its modes, and what harnesses around it must know."""

    array: ArrayConfig
    mode: PrecisionMode
    verilog: str
    latency: int
    offset: int

    @classmethod
    def of(cls, array: ArrayConfig, mode: PrecisionMode) -> MultiplierDesign:
        multiplier = MantissaMultiplier(array)
        verilog = verilog_of(multiplier, "multiplier")
        return cls(array, mode, verilog, multiplier.latency, multiplier.offset(mode))

    @property
    def is_narrow(self) -> bool:
        return max(self.mode.weight_bits, self.mode.activation_bits) < 8

    @property
    def _places(self) -> list[tuple[int, int]]:
        """Return the activation lane and the weight lane of each product, in order."""
        return [(k, lane) for k in range(self.mode.channels) for lane in range(self.mode.lanes)]

    @property
    def _count(self) -> int:
        return len(self._places)

    @property
    def _tables(self) -> list[str]:
        """Return the products of narrow lanes, in order."""
        return [f"table_{self.mode.name.lower()}_{k}_{lane}__product" for k, lane in self._places]

    @property
    def is_linear(self) -> bool:
        """Whether DSP blocks multiply lanes of 8 bits."""
        return self.array.multiplier == "dsp"

    def width(self, signal: str) -> tuple[int, bool]:
        """Return the bits of a signal, and whether it is signed."""
        found = re.search(rf"^  (?:wire|reg) (signed )?\[(\d+):0\] {signal}", self.verilog, re.M)
        assert found, signal
        return int(found[2]) + 1, bool(found[1])

    def counterexample(
        self,
        body: str,
        verilog: str,
        lists: dict[str, list[str]],
        cycles: int,
        **constants: int | str,
    ) -> str | None:
        """Return what breaks a harness around the design, some of it cut out in `verilog`."""
        array, mode = self.array, self.mode
        activation, weight = activation_operand(array), weight_operand(array, 0)
        a_module, a_lane = lane_module("lane_a", activation, mode.activation_bits)
        w_module, w_lane = lane_module("lane_w", weight, mode.weight_bits)
        operand = weight.layout().size
        constants |= {
            "MODE": array.modes.index(mode),
            "MODE_BITS": mode_shape(array).width,
            "CHANNELS": mode.channels,
            "LANES": mode.lanes,
            "A_LANE": a_lane,
            "W_LANE": w_lane,
            "A_LARGEST": array.max_activation(mode.activation_bits),
            "W_LARGEST": array.max_weight(mode.weight_bits),
            "W_OPERAND": operand,
            "LATENCY": self.latency,
            "SUMS": array.partial_sum_bits,
            "CARRIES": array.max_lanes,
            "OFFSET": self.offset,
        }
        text = harness(verilog, "multiplier", body, lists=lists, constants=constants)
        # Bytes that only narrow modes have are narrower than others.
        wires = [
            f"  wire [{operand - 1}:0] byte_{k} = weight_{k};" for k in range(array.word_bytes)
        ]
        joined = ", ".join(f"byte_{k}" for k in reversed(range(array.word_bytes)))
        total = operand * array.word_bytes
        wires.append(f"  wire [{total - 1}:0] weights = {{{joined}}};")
        head, ports, rest = text.rpartition("  multiplier dut(")
        text = f"{head}{chr(10).join(wires)}\n{ports}{rest}"
        return counterexample(a_module, w_module, text, cycles=cycles)

    def wrong_product(self) -> str | None:
        """Return operands whose product, or what is multiplied, is another than theirs."""
        if self.is_narrow:
            bits, signed = self.width(self._tables[0])
            lists = {"products": self._tables}
            widths = {"PRODUCT": bits, "SIGNED": int(signed)}
            return self.counterexample("multiplier_tables", self.verilog, lists, 1, **widths)
        verilog = self.verilog
        if self.is_linear:
            names = {x: [f"factor_{x}_{n}" for n in range(self._count)] for x in "aw"}
            lines = ""
            for number, factors in enumerate(self._factors()):
                for x, factor in zip("aw", factors, strict=True):
                    lines += f"  wire signed [23:0] factor_{x}_{number} = $signed({factor});\n"
            text = module_of(verilog, "multiplier")
            more = f"{text.removesuffix(_END)}{lines}{_END}"
            verilog = edited(verilog, text, more)
            widths = {"A_FACTOR": 24, "W_FACTOR": 24}
            body = "multiplier_factors"
        else:
            ports = [f"multiplier_{n}__" for n in range(self._count)]
            names = {"a": [f"{port}a" for port in ports], "w": [f"{port}b" for port in ports]}
            widths = {f"{x.upper()}_FACTOR": self.width(names[x][0])[0] for x in "aw"}
            widths["A_BITS"] = activation_operand(self.array).significand_bits
            widths["W_BITS"] = weight_operand(self.array, 0).significand_bits
            body = "multiplier_significands"
        lists = {f"{x}_factors": signals for x, signals in names.items()}
        return self.counterexample(body, verilog, lists, 1, **widths)

    def _factors(self) -> list[tuple[str, str]]:
        """Return what each product of a DSP block is of, in order."""
        products = re.findall(r"\$signed\(([^()]+)\) \* \$signed\(([^()]+)\)", self.verilog)
        found = list(dict.fromkeys(products))
        assert len(found) >= self._count
        return found[: self._count]

    def wrong_sum(self) -> str | None:
        """Return products whose sum is not what their lane gives."""
        verilog, names, delay = self.verilog, self._tables, 0
        bits, signed = 48, False
        if self.is_narrow:
            bits, signed = self.width(names[0])
            for name in names:
                verilog = cut(verilog, name, "product")
        else:
            names = [f"cut_{number}" for number in range(self._count)]
            for number, name in enumerate(names):
                verilog = self._without_product(verilog, number, name)
            signed = self.is_linear
            delay = 0 if self.is_linear else FloatingMultiplier.LATENCY
        largest = self.array.max_activation(self.mode.activation_bits)
        largest *= self.array.max_weight(self.mode.weight_bits)
        widths = {"PRODUCT": bits, "SIGNED": int(signed), "DELAY": delay}
        widths["LARGEST"] = f"48'sd{largest}"
        lists = {"products": names}
        return self.counterexample("multiplier_sums", verilog, lists, self.latency + 1, **widths)

    def _without_product(self, verilog: str, number: int, name: str) -> str:
        """Return a design whose wide product `number` is a signal `name`, anything whatever."""
        free = f"  (* anyseq *)\n  reg signed [47:0] {name};\n"
        head = verilog[: verilog.index(";\n") + 2]
        assert head.splitlines()[-1].startswith("module multiplier(")
        verilog = edited(verilog, head, head + free)
        if self.is_linear:
            a, w = self._factors()[number]
            return verilog.replace(f"$signed({a}) * $signed({w})", f"$signed({name})")
        product = f"multiplier_{number}__product"
        verilog = edited(verilog, f".product({product})", ".product()")
        found = re.search(rf"^  wire (.*\b{product});$", verilog, re.MULTILINE)
        assert found, product
        return edited(verilog, found[0], f"  wire {found[1]} = {name};")
