"""A network's layers without their numbers, and which of its tensors share a width.

A tensor has one format, so all layers that read it have one activation width and one exponent
limit; what max-pooling, concatenation and views pass on keeps the format it came with. Those sets
of tensors are `Workload.groups`, the same that `dybit.quant.torch.prepare` holds configs to. The
two operands of a product of activations have formats of their own, but one entry in a config, and
so one width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from dybit.quant.layer import INPUT
from dybit.quant.precision import PrecisionMode
from dybit.quant.tensor import NetworkError
from dybit.quant.workloads.layer_shape import Image, LayerKind, LayerShape

__all__ = ["TensorGroup", "Workload"]


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors of one width and exponent limit.

    Attributes
    ----------
    tensors : tuple of str
        All of them, in the order they are made.
    readers : tuple of str
        Layers that state its width: those on the array, and products of activations.
    sinks : tuple of str
        Sums and means that read it. Where nothing states its width, it has that of what they
        make, the widest if they differ.
    signed : bool
        Whether it may be negative.
    """

    tensors: tuple[str, ...]
    readers: tuple[str, ...]
    sinks: tuple[str, ...]
    signed: bool


@dataclass(frozen=True, slots=True)
class Workload:
    """A network as shapes.

    Parameters
    ----------
    name : str
    input_shape : Image
    layers : tuple of LayerShape
        In an order in which each reads the input, `INPUT`, or what a layer before it writes.

    Raises
    ------
    NetworkError
        If a layer reads what is not there, or two have one name.
    """

    name: str
    input_shape: Image
    layers: tuple[LayerShape, ...]

    def __post_init__(self) -> None:
        shapes = {INPUT: self.input_shape}
        for layer in self.layers:
            if layer.name in shapes:
                raise NetworkError(f"layer names must differ, but {layer.name} is used twice")
            for name in layer.inputs:
                if name not in shapes:
                    raise NetworkError(
                        f"{layer.name}: inputs must be made by layers before it, not {name!r}"
                    )
            shapes[layer.name] = layer.output_shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one input."""
        return sum(layer.macs for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Trained parameters, batch norm's included where layers know of it."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def array_layers(self) -> tuple[LayerShape, ...]:
        """The layers that run on the array."""
        return tuple(layer for layer in self.layers if layer.on_array)

    @property
    def groups(self) -> tuple[TensorGroup, ...]:
        """The tensors that are codes, by what they share."""
        return _groups(self)

    def layer(self, name: str) -> LayerShape:
        """Return the layer called `name`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.array_layers)
        raise NetworkError(f"layer must be one of {known}, not {name!r}")

    def widths(self, modes: Mapping[str, PrecisionMode]) -> dict[str, int]:
        """Return the width in bits of each tensor that is codes.

        Parameters
        ----------
        modes : mapping of str to PrecisionMode
            Of every layer on the array; of products of activations where they are the only ones
            to read a tensor.

        Raises
        ------
        NetworkError
            If two layers that read one tensor differ in its width.
        """
        stated = [self._stated(group, modes) for group in self.groups]
        places = {name: i for i, group in enumerate(self.groups) for name in group.tensors}

        def follow(place: int, seen: frozenset[int]) -> int | None:
            if stated[place] is not None or place in seen:
                return stated[place]
            made = [places[name] for name in self.groups[place].sinks if name in places]
            widths = [follow(other, seen | {place}) for other in made]
            return max((width for width in widths if width is not None), default=None)

        found = {name: follow(place, frozenset()) for name, place in places.items()}
        return {name: width for name, width in found.items() if width is not None}

    def _stated(self, group: TensorGroup, modes: Mapping[str, PrecisionMode]) -> int | None:
        asked = {name: modes[name].activation_bits for name in group.readers if name in modes}
        if len(set(asked.values())) > 1:
            (first, bits), *rest = asked.items()
            other, differing = next(each for each in rest if each[1] != bits)
            raise NetworkError(
                f"{first} and {other} read one tensor, {group.tensors[0]}: activation_bits must be "
                f"the same in both, not {bits} and {differing}"
            )
        return next(iter(asked.values()), None)


@lru_cache(maxsize=64)
def _groups(workload: Workload) -> tuple[TensorGroup, ...]:
    coded = _coded(workload)
    order = [name for name in (INPUT, *(layer.name for layer in workload.layers)) if name in coded]
    owner = {name: name for name in order}

    def root(name: str) -> str:
        while owner[name] != name:
            name = owner[name]
        return name

    def join(names: Iterator[str]) -> None:
        roots = sorted({root(name) for name in names}, key=order.index)
        owner.update(dict.fromkeys(roots, roots[0]))

    for layer in workload.layers:
        if layer.kind.passes and layer.name in coded:
            join(name for name in (layer.name, *layer.inputs))
        elif layer.kind is LayerKind.MATMUL:
            # Its one entry in a config states the width of both operands.
            join(iter(layer.inputs))
    members: dict[str, list[str]] = {}
    for name in order:
        members.setdefault(root(name), []).append(name)
    signed = _signed(workload)
    return tuple(
        TensorGroup(
            tuple(names),
            tuple(layer.name for layer in _reading(workload, names) if _states(layer)),
            tuple(
                layer.name
                for layer in _reading(workload, names)
                if layer.kind in (LayerKind.ADD, LayerKind.AVG_POOL)
            ),
            any(signed[name] for name in names),
        )
        for names in members.values()
    )


def _states(layer: LayerShape) -> bool:
    return layer.on_array or layer.kind is LayerKind.MATMUL


def _reading(workload: Workload, names: list[str]) -> list[LayerShape]:
    return [layer for layer in workload.layers if set(layer.inputs) & set(names)]


def _coded(workload: Workload) -> set[str]:
    """Return the tensors that are codes: those that an integer layer reads."""
    coded: set[str] = set()
    for layer in reversed(workload.layers):
        stays_float = layer.kind is LayerKind.FLOAT or (layer.has_weights and not layer.on_array)
        if _states(layer) or (layer.name in coded and not stays_float):
            coded.update(layer.inputs)
    return coded


def _signed(workload: Workload) -> dict[str, bool]:
    """Return of each tensor whether it may be negative."""
    signed = {INPUT: True}
    for layer in workload.layers:
        sources = any(signed[name] for name in layer.inputs)
        inherits = layer.kind.passes or layer.kind in (LayerKind.ADD, LayerKind.AVG_POOL)
        signed[layer.name] = not layer.relu and (sources or not inherits)
    return signed
