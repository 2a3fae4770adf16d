"""The component description of the accelerator's IP: IP-XACT (IEEE 1685-2009), as tools read it.

Vivado's packager makes one of its own, extensions and all, from the same wrapper and registers
(`vivado_ip`); this one is there without Vivado.
"""

from xml.etree import ElementTree

from dybit.hw.platforms.axi_wrapper import CONTROL, MEMORY, wrapper_ports
from dybit.hw.platforms.vivado_ip import ACCESS, MAP_BYTES, REGISTER_BITS, VLNV
from dybit.hw.registers import REGISTERS

__all__ = ["component_description"]

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"

_ADDRESS_BITS, _DATA_BITS = 40, 128
_FILES = "verilog"
_DIRECTIONS = {"input": "in", "output": "out"}
_MANAGES = {MEMORY, "interrupt"}


def component_description(manifest, top, files):
    """Return component.xml of the wrapper `top` and its `files`, in the folder ``verilog``.

    Parameters
    ----------
    manifest : dict
        The accelerator's.
    top : str
    files : sequence of str
    """
    ElementTree.register_namespace("spirit", SPIRIT)
    component = ElementTree.Element(_name("component"))
    for name, value in zip(("vendor", "library", "name", "version"), VLNV.split(":"), strict=True):
        _add(component, name, value)
    ports = wrapper_ports(manifest)
    interfaces = _add(component, "busInterfaces")
    for interface in dict.fromkeys(port.interface for port in ports):
        _interface(interfaces, [port for port in ports if port.interface == interface])
    _address_space(_add(component, "addressSpaces"))
    _memory_map(_add(component, "memoryMaps"))
    _model(_add(component, "model"), ports, top)
    _file_set(_add(component, "fileSets"), files)
    _add(component, "description", "Mixed-precision matrix engine for DyBit networks")
    ElementTree.indent(component)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(component, "unicode")}\n'


def _name(tag):
    return f"{{{SPIRIT}}}{tag}"


def _add(parent, tag, text=None, **attributes):
    child = ElementTree.SubElement(
        parent, _name(tag), {_name(name): value for name, value in attributes.items()}
    )
    child.text = None if text is None else str(text)
    return child


def _interface(parent, ports):
    """Describe the interface of some ports."""
    first = ports[0]
    interface = _add(parent, "busInterface")
    _add(interface, "name", first.interface)
    vendor, library, name, version = first.kind.split(":")
    for tag, kind in (("busType", name), ("abstractionType", f"{name}_rtl")):
        _add(interface, tag, vendor=vendor, library=library, name=kind, version=version)
    role = _add(interface, "master" if first.interface in _MANAGES else "slave")
    if first.interface == MEMORY:
        _add(role, "addressSpaceRef", addressSpaceRef=MEMORY)
    elif first.interface == CONTROL:
        _add(role, "memoryMapRef", memoryMapRef=CONTROL)
    maps = _add(interface, "portMaps")
    for port in ports:
        pair = _add(maps, "portMap")
        _add(_add(pair, "logicalPort"), "name", port.role)
        _add(_add(pair, "physicalPort"), "name", port.name)
    parameters = _add(interface, "parameters")
    for text in first.parameters.split(", "):
        name, value = text.split(" ")
        parameter = _add(parameters, "parameter")
        _add(parameter, "name", name)
        _add(parameter, "value", value)


def _address_space(parent):
    space = _add(parent, "addressSpace")
    _add(space, "name", MEMORY)
    _add(space, "range", f"0x{1 << _ADDRESS_BITS:X}")
    _add(space, "width", _DATA_BITS)


def _memory_map(parent):
    memory_map = _add(parent, "memoryMap")
    _add(memory_map, "name", CONTROL)
    block = _add(memory_map, "addressBlock")
    _add(block, "name", "Reg")
    _add(block, "baseAddress", "0x0")
    _add(block, "range", MAP_BYTES)
    _add(block, "width", REGISTER_BITS)
    _add(block, "usage", "register")
    for entry in REGISTERS:
        access = ACCESS[entry.access]
        register = _add(block, "register")
        _add(register, "name", entry.name)
        _add(register, "description", entry.description)
        _add(register, "addressOffset", f"{entry.offset:#x}")
        _add(register, "size", REGISTER_BITS)
        _add(register, "access", access)
        for bits in entry.fields:
            field = _add(register, "field")
            _add(field, "name", bits.name)
            _add(field, "description", bits.description)
            _add(field, "bitOffset", bits.low)
            _add(field, "bitWidth", bits.bits)
            _add(field, "access", access)
    _add(memory_map, "addressUnitBits", 8)


def _model(parent, ports, top):
    view = _add(_add(parent, "views"), "view")
    _add(view, "name", _FILES)
    _add(view, "envIdentifier", "verilogSource::")
    _add(view, "language", "verilog")
    _add(view, "modelName", top)
    _add(_add(view, "fileSetRef"), "localName", _FILES)
    listed = _add(parent, "ports")
    for port in ports:
        entry = _add(listed, "port")
        _add(entry, "name", port.name)
        wire = _add(entry, "wire")
        _add(wire, "direction", _DIRECTIONS[port.direction])
        if port.width > 1:
            vector = _add(wire, "vector")
            _add(vector, "left", port.width - 1)
            _add(vector, "right", 0)


def _file_set(parent, files):
    file_set = _add(parent, "fileSet")
    _add(file_set, "name", _FILES)
    for name in files:
        file = _add(file_set, "file")
        _add(file, "name", f"{_FILES}/{name}")
        _add(file, "fileType", "verilogSource")
