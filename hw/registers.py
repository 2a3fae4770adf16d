"""The register map: what the driver sees, as data for gateware, documents and drivers."""

from dataclasses import dataclass

from amaranth.lib import enum

__all__ = ["COUNTERS", "REGISTERS", "Access", "Bits", "Register", "pack", "register_table"]


class Access(enum.Enum):
    """How a register is accessed."""

    CONTROL = "control"
    """As its fields say."""
    READ_WRITE = "read, write"
    READ = "read"
    CONSTANT = "constant"
    """Read; the build decides what."""


@dataclass(frozen=True, slots=True)
class Bits:
    """A field of a register.

    Members
    -------
    name : str
    low : int
        Lowest bit.
    bits : int
    description : str
    """

    name: str
    low: int
    bits: int
    description: str


@dataclass(frozen=True, slots=True)
class Register:
    """A register of 32 bits; those that no field names read as 0.

    Members
    -------
    name : str
    offset : int
        Bytes from the beginning of the map.
    access : Access
    description : str
    fields : tuple of Bits
    """

    name: str
    offset: int
    access: Access
    description: str
    fields: tuple[Bits, ...]

    def field(self, name):
        """Return the field called `name`."""
        (found,) = (field for field in self.fields if field.name == name)
        return found


def _whole(description):
    return (Bits("value", 0, 32, description),)


COUNTERS = (
    ("CYCLES", "cycles in which the engine was busy"),
    ("VECTORS", "vectors issued to the array"),
    ("STALL_WEIGHTS", "cycles in which the walker waited for weights"),
    ("STALL_ACTIVATIONS", "cycles in which the walker waited for its input to be loaded"),
    ("STALL_RESULTS", "cycles in which the walker waited for a free half of the accumulators"),
    ("READ_BEATS", "beats of 16 bytes read"),
    ("WRITE_BEATS", "beats of 16 bytes written"),
    ("DEPTHWISE", "vectors issued to the depthwise unit"),
)
"""Name and meaning of the counters, each of 64 bits; a start sets them to 0."""

_FIRST_COUNTER = 0x50

MAGIC = 0x44594254
VERSION = 1

REGISTERS = (
    Register(
        "CTRL",
        0x00,
        Access.CONTROL,
        "start and end of a run, as ap_ctrl_hs of Vitis HLS",
        (
            Bits("ap_start", 0, 1, "write 1: start; reads 1 until the run has ended"),
            Bits("ap_done", 1, 1, "a run has ended, with or without error; reading CTRL clears it"),
            Bits("ap_idle", 2, 1, "no run is under way"),
            Bits("ap_ready", 3, 1, "as ap_done"),
            Bits("auto_restart", 7, 1, "not built: reads 0, writes are ignored"),
            Bits("interrupt", 9, 1, "the interrupt output"),
        ),
    ),
    Register(
        "GIE",
        0x04,
        Access.READ_WRITE,
        "global interrupt enable",
        (Bits("enable", 0, 1, "the interrupt output may rise"),),
    ),
    Register(
        "IER",
        0x08,
        Access.READ_WRITE,
        "interrupt enable",
        (
            Bits("done", 0, 1, "the end of a run sets ISR.done"),
            Bits("ready", 1, 1, "the end of a run sets ISR.ready"),
        ),
    ),
    Register(
        "ISR",
        0x0C,
        Access.CONTROL,
        "interrupt status; the interrupt output is 1 while GIE is set and a bit here",
        (
            Bits("done", 0, 1, "a run has ended; writing 1 toggles it"),
            Bits("ready", 1, 1, "as done"),
        ),
    ),
    Register("MAGIC", 0x10, Access.CONSTANT, "identification", _whole(f"0x{MAGIC:08X}, DYBT")),
    Register(
        "VERSION",
        0x14,
        Access.CONSTANT,
        "version of registers and descriptors",
        _whole(f"{VERSION}"),
    ),
    Register(
        "GEOMETRY",
        0x18,
        Access.CONSTANT,
        "size of the array and of its port to memory",
        (
            Bits("rows", 0, 8, "rows of the array, R"),
            Bits("columns", 8, 8, "columns of the array, C"),
            Bits("bus_bytes", 16, 8, "bytes of a beat"),
        ),
    ),
    Register(
        "MODES",
        0x1C,
        Access.CONSTANT,
        "what is built",
        (
            Bits("modes", 0, 7, "W8A8, W8A4, W4A8, W4A4, W2A4, W4A2, W2A2 from bit 0"),
            Bits("signed", 8, 1, "signed activations"),
            Bits("unsigned", 9, 1, "unsigned activations"),
            Bits("esb", 10, 1, "codes are ESB, not DyBit"),
            Bits("depthwise_kernel", 16, 8, "longest side of a depthwise kernel; 0: no unit"),
        ),
    ),
    Register(
        "ACTIVATION_WORDS",
        0x20,
        Access.CONSTANT,
        "activation memory",
        _whole("words of R bytes in a bank"),
    ),
    Register(
        "ACCUMULATOR_PIXELS",
        0x24,
        Access.CONSTANT,
        "accumulators",
        _whole("pixels in a half of them"),
    ),
    Register(
        "OUTPUT_WORDS",
        0x28,
        Access.CONSTANT,
        "output memory",
        _whole("words of C bytes in a bank"),
    ),
    Register(
        "PARAMETER_GROUPS",
        0x2C,
        Access.CONSTANT,
        "parameter memory",
        _whole("groups of C channels in a bank"),
    ),
    Register(
        "CONFIGURATION",
        0x30,
        Access.CONSTANT,
        "which build this is",
        _whole("CRC-32 of the manifest's `parameters` as JSON, keys sorted, without spaces"),
    ),
    Register(
        "LIST_LOW",
        0x34,
        Access.READ_WRITE,
        "address of the list of descriptors, taken at the start",
        _whole("bits 31..0; a multiple of 64"),
    ),
    Register(
        "LIST_HIGH",
        0x38,
        Access.READ_WRITE,
        "address of the list of descriptors, taken at the start",
        _whole("bits 63..32"),
    ),
    Register(
        "LIST_LENGTH",
        0x3C,
        Access.READ_WRITE,
        "length of the list, taken at the start",
        _whole("descriptors, at least 1"),
    ),
    Register(
        "STATUS",
        0x40,
        Access.READ,
        "state of the engine",
        (
            Bits("busy", 0, 1, "a run is under way"),
            Bits("error", 1, 1, "the last run ended, or is ending, with an error"),
            Bits(
                "start_while_busy",
                2,
                1,
                "a start was ignored during the last run, or since its end",
            ),
        ),
    ),
    Register(
        "ERROR",
        0x44,
        Access.READ,
        "first error of the last run; a start sets it to 0",
        (
            Bits(
                "code",
                0,
                8,
                "0 none, 1 illegal descriptor, 2 list, 3 read SLVERR, 4 read DECERR, "
                "5 write SLVERR, 6 write DECERR",
            ),
            Bits("detail", 8, 8, "of an illegal descriptor, the rule it breaks"),
        ),
    ),
    Register(
        "ERROR_DESCRIPTOR",
        0x48,
        Access.READ,
        "where the error was",
        _whole("descriptor at hand, from 0"),
    ),
    *(
        Register(
            f"{name}_{part}",
            _FIRST_COUNTER + 8 * index + 4 * high,
            Access.READ,
            description,
            _whole("bits 63..32, when LOW was read" if high else "bits 31..0"),
        )
        for index, (name, description) in enumerate(COUNTERS)
        for high, part in enumerate(("LOW", "HIGH"))
    ),
)
"""All registers in the order of their offsets. Other addresses read 0 and ignore writes."""


def pack(name, **values):
    """Return register `name` with the given values in its fields, 0 in the others.

    Raises
    ------
    ValueError
        If a value does not fit its field.
    """
    (register,) = (register for register in REGISTERS if register.name == name)
    word = 0
    for field_name, value in values.items():
        field = register.field(field_name)
        if value not in range(1 << field.bits):
            raise ValueError(
                f"{name}.{field_name} must be 0 to {(1 << field.bits) - 1}, not {value!r}"
            )
        word |= value << field.low
    return word


def register_table():
    """Return the registers as the manifest lists them."""
    return [
        {
            "name": register.name,
            "offset": register.offset,
            "access": register.access.value,
            "fields": [
                {"name": field.name, "low": field.low, "bits": field.bits}
                for field in register.fields
            ],
        }
        for register in REGISTERS
    ]
