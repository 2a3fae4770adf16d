"""Which tensors of a graph are codes, at which width, and how the integer network keeps them.

A tensor is codes where an integer layer reads it. Tensors that a layer passes on unchanged, or
joins, share one format; all that read them must agree on its width and exponent limit. A tensor
that no convolution, linear layer or product of activations reads has the width of what it is
summed or averaged into.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from dybit.quant.config import ConfigError, LayerConfig
from dybit.quant.layer import INPUT
from dybit.quant.torch.modules import (
    ActivationQuantizer,
    ComputeStage,
    ConvStage,
    KeptFloat,
    PreparedModel,
    Stage,
)
from dybit.quant.torch.stages import (
    AddStage,
    AvgPoolStage,
    FloatStage,
    MatMulStage,
    MaxPoolStage,
    PassingStage,
    ScaledStage,
)

__all__ = ["assign"]


def assign(prepared: PreparedModel) -> None:
    """Give every tensor of `prepared` that is codes its quantizer, and list what stays float.

    Raises
    ------
    ConfigError
        If layers that read one tensor do not agree on its width and exponent limit.
    """
    stages = cast("list[Stage]", list(prepared.stages))
    coded = _coded(prepared, stages)
    groups = _groups(stages, coded)
    for group in dict.fromkeys(groups.values()):
        group.settings = _settings(prepared, group, groups, set())
        name = group.makers[0]
        quantizer = prepared.image if name == INPUT else ActivationQuantizer(name)
        quantizer.settings = group.settings
        group.quantizer = quantizer
    for stage in stages:
        made = groups[stage.name].quantizer if stage.name in groups else None
        if isinstance(stage, PassingStage):
            stage.passed = made
        else:
            stage.quantizer = made
        sources = [groups[name].quantizer if name in groups else None for name in stage.inputs]
        if isinstance(stage, ComputeStage):
            stage.settings = prepared.config.layer(stage.name)
            stage.source = cast(ActivationQuantizer, sources[0])
        elif isinstance(stage, ScaledStage) and None not in sources:
            stage.sources = cast("tuple[ActivationQuantizer, ...]", tuple(sources))
    _place_channels(prepared, stages)
    prepared.kept_float = tuple(_kept_float(stages, coded))


@dataclass(eq=False, slots=True)
class _Group:
    """Tensors of one format.

    Members
    -------
    members : list of str
        All of them.
    makers : list of str
        Those that are not passed on from others.
    """

    members: list[str] = field(default_factory=list)
    makers: list[str] = field(default_factory=list)
    settings: LayerConfig | None = None
    quantizer: ActivationQuantizer | None = None


def _coded(prepared: PreparedModel, stages: list[Stage]) -> set[str]:
    """Return the names of the tensors that are codes."""
    coded: set[str] = set()
    for stage in [*reversed(stages), None]:
        for reader in prepared.readers(stage):
            always = isinstance(reader, ComputeStage | MatMulStage)
            if always or (reader.name in coded and not isinstance(reader, FloatStage)):
                coded.add(INPUT if stage is None else stage.name)
    return coded


def _groups(stages: list[Stage], coded: set[str]) -> dict[str, _Group]:
    groups = {}
    for name in [INPUT, *(stage.name for stage in stages)]:
        if name in coded:
            groups[name] = _Group([name])
    for stage in stages:
        if isinstance(stage, PassingStage) and stage.name in coded:
            for name in stage.inputs:
                kept, other = groups[stage.name], groups[name]
                if kept is not other:
                    kept.members += other.members
                    for member in other.members:
                        groups[member] = kept
    passing = {stage.name for stage in stages if isinstance(stage, PassingStage)}
    order = {name: place for place, name in enumerate(groups)}
    for group in dict.fromkeys(groups.values()):
        group.members.sort(key=order.__getitem__)
        group.makers = [name for name in group.members if name not in passing]
    return groups


def _settings(
    prepared: PreparedModel, group: _Group, groups: dict[str, _Group], seen: set[_Group]
) -> LayerConfig | None:
    """Return the settings that a group's readers ask for; None if `seen` ones alone read it."""
    if group.settings is not None or group in seen:
        return group.settings
    stages = {stage.name: stage for stage in cast("list[Stage]", list(prepared.stages))}
    readers = [s for s in stages.values() if set(s.inputs) & set(group.members)]
    asking: list[Stage] = [s for s in readers if isinstance(s, ComputeStage | MatMulStage)]
    if not asking:
        # An entry of the config for a sum states the width of what is summed.
        asking = [
            s for s in readers if isinstance(s, AddStage) and s.name in prepared.config.layers
        ]
    if asking:
        return _agreed(prepared, group, asking)
    found = [
        _settings(prepared, groups[reader.name], groups, seen | {group})
        for reader in readers
        if isinstance(reader, AddStage | AvgPoolStage) and reader.name in groups
    ]
    known = [settings for settings in found if settings is not None]
    return max(known, key=lambda settings: settings.activation_bits, default=None)


def _agreed(prepared: PreparedModel, group: _Group, asking: list[Stage]) -> LayerConfig:
    wanted = {stage.name: prepared.config.layer(stage.name) for stage in asking}
    (first, settings), *others = wanted.items()
    for name, other in others:
        for key in ("activation_bits", "activation_max_exponent_bits"):
            mine, theirs = getattr(settings, key), getattr(other, key)
            if mine != theirs:
                raise ConfigError(
                    f"layers.{first} and layers.{name} read one tensor, that of {group.makers[0]}: "
                    f"{key} must be the same in both, not {mine} and {theirs}"
                )
    return settings


def _place_channels(prepared: PreparedModel, stages: list[Stage]) -> None:
    """Say of each stage whether the integer network keeps its output channels last."""
    image = {INPUT: len(prepared.input_shape) == 3}
    windows = ("conv2d", "avg_pool2d", "adaptive_avg_pool2d", "max_pool2d", "batch_norm")
    in_order = ("softmax", "layer_norm", "mean", "linear", "matmul")

    def sees(stage: Stage) -> bool:
        known = isinstance(stage, ConvStage | MaxPoolStage | AvgPoolStage)
        return known or (isinstance(stage, FloatStage) and stage.operation in windows)

    for stage in stages:
        plain = isinstance(stage, FloatStage) and stage.operation in in_order
        if len(stage.shape) != 3 or not stage.inputs or plain:
            stage.image = False
        elif sees(stage):
            stage.image = True
        elif isinstance(stage, ComputeStage | MatMulStage):
            stage.image = False
        elif isinstance(stage, PassingStage) and len(stage.inputs) == 1:
            # What is moved may be kept as its readers like.
            stage.image = any(map(sees, prepared.readers(stage)))
        else:
            stage.image = image[stage.inputs[0]]
        image[stage.name] = stage.image


def _kept_float(stages: list[Stage], coded: set[str]) -> list[KeptFloat]:
    kept = []
    for stage in stages:
        if isinstance(stage, FloatStage):
            kept.append(KeptFloat(stage.name, stage.operation, stage.reason))
            continue
        kind = next((kind for cls, kind in _KINDS.items() if isinstance(stage, cls)), None)
        relu = isinstance(stage, ComputeStage | ScaledStage) and stage.relu
        if stage.name not in coded and (kind is not None or relu):
            kept.append(KeptFloat(stage.name, kind or "relu", "only float layers read it"))
    return kept


_KINDS: dict[type[Stage], str] = {
    AddStage: "add",
    AvgPoolStage: "avg_pool2d",
    MaxPoolStage: "max_pool2d",
}
