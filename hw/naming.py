"""Gives the RTLIL of one module the names its author wrote.

Amaranth refers to every net by one name of its own choice, often a number, and lists the
author's names as aliases nobody reads. Here the aliases take the place of the numbers:
results carry the name of the signal they are assigned to, what an instance drives carries
``<instance>__<port>``, what a register will take next ``<register>_next``. Nothing but
names changes.
"""

import re

__all__ = ["readable"]

_DROPPED_ATTRIBUTE = re.compile(
    r"^ *attribute \\(generator|top|src|amaranth\.\w+|enum_\w+) .*\n", re.MULTILINE
)
_WIRE = re.compile(
    r"^  wire width (?P<width>\d+) (?:(?P<port>input|output) \d+ )? ?"
    r"(?P<signed>signed )?(?P<name>\S+)$"
)
_CELL = re.compile(r"^  cell (?P<kind>\S+) (?P<name>\S+)$")
_CONNECT = re.compile(r"^    connect (?P<port>\S+) (?P<value>.+)$")
_ALIAS = re.compile(r"^connect (?P<name>\S+) (?P<value>.+)$")
_ASSIGN = re.compile(r"^(?P<target> *assign (?:\{[^}]*\}|\S+(?: \[[\d:]+\])?) )(?P<value>.*)$")
_NAME = re.compile(r"\\\S+|\$\d+(?= |$)")
_SLICE = re.compile(r"(?P<name>\\\S+|\$\d+) (?P<range>\[[\d:]+\])")


def _whole(width):
    return "[0]" if width == 1 else f"[{width - 1}:0]"


class _Module:
    """One module as lines, with what is known about its names."""

    def __init__(self, text):
        self.lines = [line for line in text.split("\n") if line]
        self.width = {}
        self.ports = {}
        self.cells = {}  # instance -> kind
        self.outputs = []  # (instance, port, wire) of submodule instances
        self.registers = []  # (Q, D)
        self.aliases = {}
        self.read = set()  # slices that anything but an alias reads
        cell = {}
        for line in self.lines:
            if line.startswith("  "):
                assign = _ASSIGN.match(line)
                text = assign["value"] if assign else line
                self.read.update(match[0] for match in _SLICE.finditer(text))
            if match := _WIRE.match(line):
                self.width[match["name"]] = int(match["width"])
                if match["port"]:
                    self.ports[match["name"]] = match["port"]
            elif match := _CELL.match(line):
                cell = {}
                kind, instance = match["kind"], match["name"]
                self.cells[instance] = kind
            elif match := _CONNECT.match(line):
                cell[match["port"]] = match["value"]
                # An input would have a range.
                if kind.startswith("\\") and match["value"] in self.width:
                    self.outputs.append((instance, match["port"], match["value"]))
                if kind == "$dff" and match["port"] == "\\Q":
                    self.registers.append((match["value"], cell["\\D"]))
            elif match := _ALIAS.match(line):
                self.aliases[match["name"]] = match["value"]

    def is_whole(self, value):
        """Return the wire a value covers entirely, or None."""
        name, _, bits = value.partition(" ")
        if name in self.width and (not bits or bits == _whole(self.width[name])):
            return name
        return None


def _with_fields(labels, wires):
    """Extend the labels of structured wires to their fields: ``x`` to ``x.sum`` and ``x[3]``."""
    found = dict(labels)
    for wire in wires:
        base = re.split(r"[.\[]", wire)[0]
        if base in labels:
            found[wire] = labels[base] + wire[len(base) :]
    return found


def _plan(module, labels):
    """Decide every change of name.

    Returns
    -------
    renamed : dict
        Wire to its new name, everywhere.
    replaced : dict
        Slice to the alias read in its place.
    dropped : set
        Aliases that go, with their declaration.
    """
    renamed, replaced, dropped = {}, {}, set()
    labels = _with_fields(labels, module.width)
    for instance, port, value in module.outputs:
        if value in labels or value.startswith("$"):
            renamed[value] = f"{instance}__{port[1:]}"
    aliases = {name: value for name, value in module.aliases.items() if name not in module.ports}
    for name in module.width:
        if name in labels and name not in aliases:
            renamed.setdefault(name, f"\\{labels[name]}")

    # A name of the module's own goes before that of a child's port.
    for name, value in sorted(aliases.items(), key=lambda item: item[0] in labels):
        label = labels.get(name)
        wanted = name if label is None else f"\\{label}"
        wire = value.split(" ")[0]
        whole = module.is_whole(value) is not None
        # A slice of something named is not renamed to the child's input that takes it, but
        # a field of what a child put out is.
        nameless = wire.startswith("$") or renamed.get(wire) == re.split(r"[.\[]", wanted)[0]
        if whole and wire.startswith("$") and wire not in renamed:
            renamed[wire] = wanted
            dropped.add(name)
        elif (
            not whole
            and value in module.read
            and value not in replaced
            and (label is None or nameless)
        ):
            replaced[value] = f"{name} {_whole(module.width[name])}"
            renamed[name] = wanted
        elif label is not None or re.search(r"[.\[]", name):  # fields nobody reads say nothing
            dropped.add(name)

    for register, following in module.registers:
        source = module.is_whole(following)
        if source is not None and source.startswith("$") and source not in renamed:
            renamed[source] = f"{renamed.get(register, register)}_next"
    return renamed, replaced, dropped


def _legalise(names, renamed, ports):
    """Return a map from each name to a unique plain identifier; ports and numbers stay."""
    final = {name: name for name in ports}
    taken = {name[1:] for name in ports}
    for name in sorted(names, key=lambda name: "$" in name):  # plain names keep theirs
        wanted = renamed.get(name, name)
        if name in final or wanted.startswith("$"):
            continue
        legal = re.sub(r"\W+", "_", wanted[1:].replace(".", "__"))
        unique, count = legal, 1
        while unique in taken:
            count += 1
            unique = f"{legal}_{count}"
        taken.add(unique)
        final[name] = f"\\{unique}"
    return final


def readable(text, port_order=None, labels=None):
    """Return the module with readable names and its ports in a given order.

    Parameters
    ----------
    text : str
        RTLIL of one module as Amaranth writes it.
    port_order : sequence of str, optional
        Port names, in the order wanted in the module header; default: as they come.
    labels : dict, optional
        Better names of wires that are a child's port.
    """
    module = _Module(_DROPPED_ATTRIBUTE.sub("", text))
    renamed, replaced, dropped = _plan(module, labels or {})
    wires = [name for name in module.width if name not in dropped]
    final = _legalise([*wires, *module.cells], renamed, module.ports)
    registers = {name for name, _ in module.registers}
    listed = [f"\\{name}" for name in port_order] if port_order else list(module.ports)
    order = {name: index for index, name in enumerate(listed, start=1)}

    def read(value):
        value = _SLICE.sub(lambda match: replaced.get(match[0], match[0]), value)
        return _NAME.sub(lambda match: final.get(match[0], match[0]), value)

    lines, attributes = [], []
    for line in module.lines:
        if line.startswith("  attribute"):
            attributes.append(line)
            continue
        if match := _WIRE.match(line):
            name = match["name"]
            if name not in registers:  # an alias repeats the initial value of its register
                attributes = [
                    item for item in attributes if not item.startswith(r"  attribute \init")
                ]
            if name not in dropped:
                port = f" {match['port']} {order[name]}" if match["port"] else ""
                signed = " signed" if match["signed"] else ""
                lines += attributes
                lines.append(f"  wire width {match['width']}{port}{signed} {final.get(name, name)}")
            attributes = []
            continue
        lines += attributes
        attributes = []
        if match := _CELL.match(line):
            name = match["name"]
            lines.append(f"  cell {match['kind']} {final.get(name, name)}")
        elif match := _CONNECT.match(line):
            lines.append(f"    connect {match['port']} {read(match['value'])}")
        elif match := _ASSIGN.match(line):
            target = _NAME.sub(lambda match: final.get(match[0], match[0]), match["target"])
            lines.append(target + read(match["value"]))
        elif match := _ALIAS.match(line):
            if match["name"] not in dropped:
                value = _NAME.sub(lambda match: final.get(match[0], match[0]), match["value"])
                lines.append(f"connect {final[match['name']]} {value}")
        elif line.lstrip().startswith("switch"):
            lines.append(read(line))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
