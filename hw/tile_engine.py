"""The engine behind the bus: carries out a list of descriptors on the matrix engine."""

from typing import Any

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.burst import Command
from dybit.hw.depthwise_unit import DepthwiseUnit
from dybit.hw.descriptor_reader import DescriptorReader, ErrorCode
from dybit.hw.input_loader import InputLoader
from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.output_store import OutputStore
from dybit.hw.pass_generator import PassGenerator
from dybit.hw.pixel_walker import PixelWalker
from dybit.hw.read_dma import ReadData
from dybit.hw.requantizer import BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS
from dybit.hw.result_drainer import QUARTERS, ResultDrainer
from dybit.hw.tile_fork import TileFork
from dybit.hw.weight_loader import WeightLoader
from dybit.hw.write_dma import WriteData

__all__ = ["READ_CLIENTS", "TileEngine"]

READ_CLIENTS = ("descriptor", "parameter", "weight", "input")
"""What is read from memory, what goes first, first."""

EVENTS = ("issues", "unit_issues", "waits_weights", "waits_input", "waits_results")


class TileEngine(wiring.Component):
    """Reads a list of descriptors and carries out their tiles, several at a time.

    Every step of a tile has a part of its own: one tile's input is loaded while the one before
    it computes, the one before that drains and yet another is stored. Two banks of every memory
    keep them apart.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    clear : In(1)
        Forget everything, but for weights in the array.
    start, address, length : In
        Begin with the list at `address`, of `length` descriptors.
    done : Out(1)
        Everything in the list is in memory, one cycle.
    error, detail, index : Out
        Fault found in a descriptor, see `DescriptorReader`, and the descriptor at hand.
    <client>_command, <client>_data :
        For each of `READ_CLIENTS`, to and from the `ReadDma`.
    output_command, output_data, written :
        To and from the `WriteDma`.
    issues, unit_issues, waits_weights, waits_input, waits_results : Out(1)
        What `PixelWalker` does in this cycle.
    """

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        self.matrix_engine = MatrixEngine(array, further_sums=accelerator.depthwise_kernel > 0)
        clients = {}
        for client in READ_CLIENTS:
            clients[f"{client}_command"] = Out(stream.Signature(Command))
            clients[f"{client}_data"] = In(stream.Signature(ReadData))
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "address": In(64),
                "length": In(32),
                "done": Out(1),
                "error": Out(ErrorCode),
                "detail": Out(8),
                "index": Out(32),
                **clients,
                "output_command": Out(stream.Signature(Command)),
                "output_data": Out(stream.Signature(WriteData)),
                "written": In(1),
                **{event: Out(1) for event in EVENTS},
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, accelerator = self.array, self.accelerator
        latency = self.matrix_engine.latency
        m.submodules.matrix_engine = engine = self.matrix_engine
        m.submodules.reader = reader = DescriptorReader(array, accelerator)
        m.submodules.fork = fork = TileFork(array)
        m.submodules.loader = loader = InputLoader(array, accelerator)
        m.submodules.weights = weights = WeightLoader(array, accelerator)
        m.submodules.passes = passes = PassGenerator(array)
        m.submodules.walker = walker = PixelWalker(array, accelerator, latency)
        m.submodules.drainer = drainer = ResultDrainer(array, accelerator, latency)
        m.submodules.store = store = OutputStore(array, accelerator)
        parts: list[Any] = [reader, fork, loader, weights, passes, walker, drainer, store]
        m.d.comb += [part.clear.eq(self.clear) for part in parts]

        wiring.connect(m, reader.o, fork.i)
        wiring.connect(m, fork.load, loader.i)
        wiring.connect(m, fork.weights, weights.i)
        wiring.connect(m, fork.walk, passes.i)
        wiring.connect(m, passes.o, walker.i)
        wiring.connect(m, fork.drain, drainer.i)
        wiring.connect(m, fork.store, store.i)

        for client, part, name in (
            ("descriptor", reader, ""),
            ("parameter", loader, "parameter_"),
            ("weight", weights, ""),
            ("input", loader, "input_"),
        ):
            command, reply = getattr(self, f"{client}_command"), getattr(self, f"{client}_data")
            wiring.connect(m, getattr(part, f"{name}command"), wiring.flipped(command))
            wiring.connect(m, wiring.flipped(reply), getattr(part, f"{name}data"))
        wiring.connect(m, store.command, wiring.flipped(self.output_command))
        wiring.connect(m, store.data, wiring.flipped(self.output_data))

        self._memories(m, engine, loader, walker, drainer, store)
        self._vectors(m, engine, weights, walker)
        if accelerator.depthwise_kernel:
            self._depthwise(m, engine, weights, walker)
        m.d.comb += [
            reader.start.eq(self.start),
            reader.address.eq(self.address),
            reader.length.eq(self.length),
            self.error.eq(reader.error),
            self.detail.eq(reader.detail),
            self.index.eq(reader.index),
            loader.bank_freed.eq(walker.bank_freed),
            loader.parameters_freed.eq(drainer.parameters_freed),
            loader.stored.eq(store.stored),
            walker.loaded.eq(loader.loaded),
            walker.half_freed.eq(drainer.half_freed),
            drainer.summed.eq(walker.summed),
            drainer.stored.eq(store.stored),
            store.drained.eq(drainer.drained),
            store.written.eq(self.written),
            *(getattr(self, event).eq(getattr(walker, event)) for event in EVENTS),
        ]

        busy, tiles = Signal(), Signal(4)
        with m.If(self.clear):
            m.d.sync += [busy.eq(0), tiles.eq(0)]
        with m.Else():
            m.d.sync += tiles.eq(tiles + (fork.i.valid & fork.i.ready) - store.stored)
            with m.If(self.start):
                m.d.sync += busy.eq(1)
            with m.Elif(self.done):
                m.d.sync += busy.eq(0)
        m.d.comb += self.done.eq(busy & reader.finished & ~tiles.any())
        return m

    def _memories(self, m, engine, loader, walker, drainer, store):
        """Place the three memories between those that write and those that read them."""
        array, accelerator = self.array, self.accelerator
        m.submodules.activations = activations = memory.Memory(
            shape=8 * array.rows, depth=2 * accelerator.activation_words, init=[]
        )
        write = activations.write_port()
        self._activation = activations.read_port()
        m.d.comb += [
            write.en.eq(loader.write_enable),
            write.addr.eq(loader.write_address),
            write.data.eq(loader.write_data),
            self._activation.addr.eq(walker.read_address),
        ]

        layout = data.StructLayout(
            {"bias": signed(BIAS_BITS), "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS}
        )
        m.d.comb += [
            engine.parameters.valid.eq(drainer.parameter_valid),
            engine.parameters.lane.eq(drainer.parameter_lane),
        ]
        for c in range(array.columns):
            parameters = memory.Memory(
                shape=layout.size, depth=2 * accelerator.parameter_groups, init=[]
            )
            m.submodules[f"parameters_{c}"] = parameters
            write, read = parameters.write_port(), parameters.read_port()
            held = data.View(layout, read.data)
            m.d.comb += [
                write.en.eq(loader.parameter_enable[c]),
                write.addr.eq(loader.parameter_address),
                write.data.eq(loader.parameter[: layout.size]),
                read.addr.eq(drainer.parameter_address),
                engine.parameters.bias[c].eq(held.bias),
                engine.parameters.multiplier[c].eq(held.multiplier),
                engine.parameters.shift[c].eq(held.shift),
            ]

        m.submodules.outputs = outputs = memory.Memory(
            shape=8 * array.columns, depth=2 * accelerator.output_words, init=[]
        )
        write = outputs.write_port(granularity=8 * array.columns // QUARTERS)
        read = outputs.read_port()
        m.d.comb += [
            write.en.eq(drainer.write_enable),
            write.addr.eq(drainer.write_address),
            write.data.eq(drainer.write_data),
            read.addr.eq(store.read_address),
            store.read_data.eq(read.data),
            engine.drain.valid.eq(drainer.drain_valid),
            engine.drain.address.eq(drainer.drain_address),
            engine.drain.lane.eq(drainer.drain_lane),
            engine.drain.mode.eq(drainer.drain_mode),
            engine.drain.format.eq(drainer.drain_format),
            drainer.accumulators.eq(engine.accumulators.data),
            drainer.codes.eq(engine.codes.data),
        ]

    def _vectors(self, m, engine, weights, walker):
        """Give the array its vectors and its weights, and tell the walker what it holds."""
        array = self.array
        word = Signal(8 * array.rows, reset_less=True)
        m.d.sync += word.eq(self._activation.data)
        vector = walker.vector
        discard = Signal()
        m.d.sync += discard.eq(self.clear)
        m.d.comb += [
            engine.activations.word.eq(word),
            engine.activations.keep.eq(vector.keep),
            # After a run cut short, a vector into the void takes up what weights there are.
            engine.activations.valid.eq(vector.valid | discard),
            engine.activations.swap.eq(vector.swap | discard),
            engine.activations.mode.eq(vector.mode),
            engine.activations.signed.eq(vector.signed),
            engine.activations.exponent_limit.eq(vector.exponent_limit),
            engine.activations.tag.address.eq(vector.address),
            engine.activations.tag.first.eq(vector.first),
        ]

        row = weights.o.payload
        transfer, swap = Signal(), Signal()
        rows_loaded = Signal(range(array.rows + 1))
        m.d.comb += [
            engine.weights.valid.eq(weights.o.valid & ~row.depthwise & ~self.clear & ~discard),
            engine.weights.word.eq(row.word),
            engine.weights.mode.eq(row.mode),
            engine.weights.exponent_limit.eq(row.exponent_limit),
            transfer.eq(engine.weights.valid & engine.weights.ready),
            weights.o.ready.eq(transfer),
            swap.eq(engine.activations.valid & engine.activations.swap),
            walker.weights_loaded.eq(transfer & ~swap & (rows_loaded == array.rows - 1)),
        ]
        with m.If(swap):
            m.d.sync += rows_loaded.eq(transfer)
        with m.Elif(transfer):
            m.d.sync += rows_loaded.eq(rows_loaded + 1)

    def _depthwise(self, m, engine, weights, walker):
        """Do for the depthwise unit what `_vectors` does for the array, and send its sums on."""
        m.submodules.depthwise_unit = unit = DepthwiseUnit(self.array, self.accelerator)
        wiring.connect(m, unit.partial_sums, engine.further_sums)
        m.d.comb += [
            unit.clear.eq(self.clear),
            unit.word.eq(engine.activations.word),
            unit.vector.eq(walker.vector),
            unit.weights.valid.eq(weights.o.valid & weights.o.payload.depthwise & ~self.clear),
            unit.weights.payload.eq(weights.o.payload),
            walker.taps_loaded.eq(unit.taps_loaded),
        ]
        with m.If(unit.weights.valid & unit.weights.ready):
            m.d.comb += weights.o.ready.eq(1)
