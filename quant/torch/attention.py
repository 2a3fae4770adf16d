"""Attention opened up, so that its linear layers and matrix products can be quantised."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from dybit.quant.tensor import NetworkError

__all__ = ["MultiHeadAttention", "open_attention", "open_products"]


class MultiHeadAttention(nn.Module):
    """What `nn.MultiheadAttention` computes, in linear layers and matrix products.

    Parameters
    ----------
    attention : MultiheadAttention
        Its parameters are copied.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.batch_first = attention.batch_first
        size = attention.embed_dim
        packed: Any = attention.in_proj_weight
        weights = (
            [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
            if packed is None
            else torch.split(packed.detach(), size)
        )
        biases = (
            [None] * 3
            if attention.in_proj_bias is None
            else torch.split(attention.in_proj_bias.detach(), size)
        )
        self.query, self.key, self.value = (
            _linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.projection = _linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """Return the attended values; never the weights, which a network has no use for."""
        if key_padding_mask is not None:
            raise NetworkError("key_padding_mask is not supported; must be None")
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask)
        y = self.projection(y.transpose(1, 2).flatten(2))
        return (y if self.batch_first else y.transpose(0, 1)), None


class EncoderLayer(nn.Module):
    """What `nn.TransformerEncoderLayer` computes in evaluation mode, without its fast path."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.norm_first = layer.norm_first
        self.activation: Any = layer.activation
        self.self_attn = MultiHeadAttention(layer.self_attn)
        self.linear1, self.linear2 = layer.linear1, layer.linear2
        self.norm1, self.norm2 = layer.norm1, layer.norm2

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self._attend(self.norm1(x))
            return x + self._feed(self.norm2(x))
        x = self.norm1(x + self._attend(x))
        result: Tensor = self.norm2(x + self._feed(x))
        return result

    def _attend(self, x: Tensor) -> Tensor:
        result: Tensor = self.self_attn(x, x, x)[0]
        return result

    def _feed(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear2(self.activation(self.linear1(x)))
        return result


def open_attention(model: nn.Module) -> None:
    """Replace the attention modules of torch below `model` by ones that can be traced."""
    for name, module in list(model.named_children()):
        opened: nn.Module | None = None
        match module:
            case nn.TransformerEncoder():
                opened = nn.Sequential()
                opened.add_module("layers", nn.Sequential(*module.layers))
                opened.add_module("norm", module.norm or nn.Identity())
                open_attention(opened)
            case nn.TransformerEncoderLayer():
                opened = EncoderLayer(module)
            case nn.MultiheadAttention() if module.bias_k is None and not module.add_zero_attn:
                opened = MultiHeadAttention(module)
            case _:
                open_attention(module)
        if opened is not None:
            setattr(model, name, opened)


def open_products(graph: fx.Graph) -> None:
    """Write `scaled_dot_product_attention` as products, a scale and a softmax."""
    target = functional.scaled_dot_product_attention
    exported = torch.ops.aten.scaled_dot_product_attention.default
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in (target, exported):
            continue
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        if given.get("dropout_p") or given.get("is_causal") or given.get("enable_gqa"):
            continue  # stays whole, and in float
        with graph.inserting_before(node):

            def call(function: Any, *args: Any, source: fx.Node = node) -> fx.Node:
                made = graph.call_function(function, args)
                made.meta.update(source.meta)
                return made

            scale = given.get("scale")
            if scale is None:
                size = call(operator.getitem, call(getattr, given["query"], "shape"), -1)
                scale = call(_inverse_root, size)
            turned = call(torch.transpose, given["key"], -2, -1)
            scores = call(operator.mul, call(torch.matmul, given["query"], turned), scale)
            if given.get("attn_mask") is not None:
                scores = call(operator.add, scores, given["attn_mask"])
            weights = call(torch.softmax, scores, -1)
            product = call(torch.matmul, weights, given["value"])
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def _inverse_root(size: int) -> float:
    return 1 / math.sqrt(size)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    # Without initial values: they would draw random numbers that the user's code counts on.
    skip_init: Any = nn.utils.skip_init
    outputs, inputs = weight.shape
    linear: nn.Linear = skip_init(
        nn.Linear, inputs, outputs, bias=bias is not None, dtype=weight.dtype
    )
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear
