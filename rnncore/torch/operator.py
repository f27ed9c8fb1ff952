"""A call as an operator of torch, for `torch.compile`.

The compiler sees one operator, of which the functions marked `register_fake` tell the shapes of the results; what
happens inside, it leaves alone. Operators take and return only tensors and numbers. So one of the results stands for
the recorded pass: its key, see `tapes`. Sequences are time-major here; other layouts become views around the operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from rnncore.recurrent.descriptions import of_kernel

from .function import TWICE, gradients
from .packed import as_batch
from .passes import Call
from .tapes import as_tensor, tape_of
from .weights import Options, Weights

if TYPE_CHECKING:
    from torch.nn.utils.rnn import PackedSequence

    from rnncore._typing import ArrayLike
    from rnncore.recurrent.base import RecurrentLayer

    from .modules import RecurrentModule
    from .passes import Tensors

MOST_LAYERS = 64

# The layers that operators ran on last, by their options and where their first weights lie. Which one is found makes no
# difference to results, since its weights are compared with the present ones.
_LAYERS: dict[tuple[Options, int], Weights] = {}


def run(module: RecurrentModule, x: Tensor, states: Tensors, parameters: list[Tensor],
        lengths: ArrayLike | Tensor | None = None, reset: ArrayLike | Tensor | None = None,
        packed: PackedSequence | None = None) -> tuple[Tensor, ...]:
    """A call of a module: its output and its final states; a `reset` is (T, B) for a packed sequence."""
    one_sequence = packed is None and x.dim() == 2
    swapped = packed is None and x.dim() == 3 and module.batch_first
    lengths, reset = (None if given is None else torch.as_tensor(given) for given in (lengths, reset))
    if one_sequence:
        x, states = x.unsqueeze(1), tuple([None if part is None else part.unsqueeze(1) for part in states])
        reset = None if reset is None else reset.unsqueeze(1)
    elif swapped:
        x, reset = x.transpose(0, 1), None if reset is None else reset.transpose(0, 1)
    rows = (None, None) if packed is None else (packed.batch_sizes, packed.sorted_indices)
    y, *final = call(module.kernels[module.mode], x, states, parameters, module.num_layers, module.bidirectional,
                     lengths, reset, rows, module.dropout if module.training and module.num_layers > 1 else 0.0)
    if one_sequence:
        return y.squeeze(1), *[part.squeeze(1) for part in final]
    return (y.transpose(0, 1) if swapped else y), *final


def call(kernel: str, x: Tensor, states: Tensors, parameters: list[Tensor], num_layers: int = 1,
         bidirectional: bool = False, lengths: Tensor | None = None, reset: Tensor | None = None,
         rows: tuple[Tensor | None, Tensor | None] = (None, None), dropout: float = 0.0) -> tuple[Tensor, ...]:
    """The output and the final states; x is (T, B, I), or the data of a packed sequence with these `rows`."""
    h0, c0 = states if len(states) == 2 else (states[0], None)
    seed = torch.randint(2**63 - 1, (1,)) if dropout > 0 else None
    record = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, *states, *parameters))
    y, h, c, _ = recurrent(x, h0, c0, parameters, lengths, *rows, reset, seed, kernel, num_layers, bidirectional,
                           dropout, record)
    return (y, h, c) if len(states) == 2 else (y, h)


@torch.library.custom_op("rnncore::recurrent", mutates_args=())
def recurrent(x: Tensor, h0: Tensor | None, c0: Tensor | None, weights: list[Tensor], lengths: Tensor | None,
              batch_sizes: Tensor | None, sorted_indices: Tensor | None, reset: Tensor | None, seed: Tensor | None,
              kernel: str, num_layers: int, bidirectional: bool, dropout: float, record: bool
              ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The output, h, c (empty where the cell has none), and the key of the recorded pass (empty where not recorded)."""
    layer = _layer_of(kernel, weights, num_layers, bidirectional, record)
    layer.dropout = dropout
    rows = lengths.numpy() if lengths is not None else None
    one = Call(layer, rows if batch_sizes is None else as_batch(batch_sizes, sorted_indices),
               None if reset is None else reset.numpy(), None if seed is None else int(seed))
    states = (h0, c0)[:len(layer.cell.states)]
    key = torch.empty(0, dtype=torch.float64)
    if record:
        tape = one.record(x, states)
        results, key = one.outputs(tape), as_tensor(tape)
    else:
        results = one.run(x, states)
    y, h, c = results if len(results) == 3 else (*results, x.new_empty(0))
    return y, h, c, key


@recurrent.register_fake
def _(x: Tensor, h0: Tensor | None, c0: Tensor | None, weights: list[Tensor], lengths: Tensor | None,
      batch_sizes: Tensor | None, sorted_indices: Tensor | None, reset: Tensor | None, seed: Tensor | None, kernel: str,
      num_layers: int, bidirectional: bool, dropout: float, record: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    directions, width = 2 if bidirectional else 1, weights[1].shape[1]
    B: int | torch.SymInt
    if batch_sizes is None:
        B = x.shape[1]
    elif sorted_indices is not None or h0 is not None:
        B = sorted_indices.shape[0] if sorted_indices is not None else h0.shape[1]      # type: ignore[union-attr]
    else:
        B = torch.library.get_ctx().new_dynamic_size()
    h = x.new_empty((num_layers * directions, B, width))
    c = x.new_empty(_shape_of_c(h, weights) if len(of_kernel(kernel).states) == 2 else 0)
    return x.new_empty((*x.shape[:-1], directions * width)), h, c, torch.empty(int(record), dtype=torch.float64)


@torch.library.custom_op("rnncore::recurrent_backward", mutates_args=())
def recurrent_backward(grad_y: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None, y: Tensor, h: Tensor,
                       key: Tensor, weights: list[Tensor], lengths: Tensor | None, batch_sizes: Tensor | None,
                       sorted_indices: Tensor | None, states: int, wanted: list[bool]) -> list[Tensor]:
    """The gradients of x, of the initial states and of the weights, empty where they are not wanted.

    y, the output, is here so that its memory, which the recorded pass shares, is not used for something else before; h
    and the weights are here for the shapes of their gradients.
    """
    rows = lengths.numpy() if lengths is not None else None
    one = Call(tape_of(key).layer, rows if batch_sizes is None else as_batch(batch_sizes, sorted_indices))
    found = gradients(one, key, states, tuple(wanted), (grad_y, grad_h, grad_c)[:1 + states])
    return [y.new_empty(0) if gradient is None else gradient.contiguous() for gradient in found]


@recurrent_backward.register_fake
def _(grad_y: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None, y: Tensor, h: Tensor, key: Tensor,
      weights: list[Tensor], lengths: Tensor | None, batch_sizes: Tensor | None, sorted_indices: Tensor | None,
      states: int, wanted: list[bool]) -> list[Tensor]:
    of_states = [h.shape, _shape_of_c(h, weights)][:states]
    shapes = [(*y.shape[:-1], weights[0].shape[1]), *of_states, *[weight.shape for weight in weights]]
    return [y.new_empty(shape if is_wanted else 0) for shape, is_wanted in zip(shapes, wanted, strict=True)]


def _projection(weights: list[Tensor], parts: int) -> Tensor | None:
    """The first weight_hr, which comes last of the weights of its part: of each two matrices, two biases or none."""
    of_part = len(weights) // parts
    return weights[of_part - 1] if of_part % 2 else None


def _shape_of_c(h: Tensor, weights: list[Tensor]) -> tuple[int, ...]:
    weight_hr = _projection(weights, h.shape[0])
    return tuple(h.shape) if weight_hr is None else (*h.shape[:2], weight_hr.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, _, _, weights, lengths, batch_sizes, sorted_indices, _, _, kernel, *_ = inputs
    y, h, _, key = output
    ctx.states = len(of_kernel(kernel).states)
    ctx.rows = [part is not None for part in (lengths, batch_sizes, sorted_indices)]
    ctx.save_for_backward(y, h, key, *weights, *[part for part in (lengths, batch_sizes, sorted_indices)
                                                 if part is not None])
    ctx.set_materialize_grads(False)


def _go_back(ctx: Any, grad_y: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None, _: Any) -> tuple[Any, ...]:
    y, h, key, *others = ctx.saved_tensors
    number = len(others) - sum(ctx.rows)
    weights, given = others[:number], iter(others[number:])
    rows = [next(given) if is_given else None for is_given in ctx.rows]
    needs = ctx.needs_input_grad
    of_weights = needs[3] if isinstance(needs[3], list | tuple) else [needs[3]] * number
    wanted = [needs[0], *needs[1:1 + ctx.states], *of_weights]
    found = recurrent_backward(grad_y, grad_h, grad_c if ctx.states == 2 else None, y, h, key, weights, *rows,
                               ctx.states, wanted)
    grads = [gradient if is_wanted else None for gradient, is_wanted in zip(found, wanted, strict=True)]
    grad_x, *grad_states = grads[:1 + ctx.states]
    return (grad_x, *grad_states, *[None] * (2 - ctx.states), grads[1 + ctx.states:], *[None] * 10)


def _refuse(ctx: Any, *grads: Any) -> NoReturn:
    raise NotImplementedError(TWICE)


recurrent.register_autograd(_go_back, setup_context=_save)
recurrent_backward.register_autograd(_refuse)


def _layer_of(kernel: str, weights: list[Tensor], num_layers: int, bidirectional: bool, record: bool
              ) -> RecurrentLayer:
    """A layer with these weights."""
    parts, width = num_layers * (2 if bidirectional else 1), weights[1].shape[1]
    weight_hr = _projection(weights, parts)
    hidden_size, proj_size = (width, 0) if weight_hr is None else (weight_hr.shape[1], width)
    options = Options(kernel, weights[0].shape[1], hidden_size, num_layers, len(weights) >= 4 * parts, False,
                      bidirectional, weights[0].dtype, proj_size)
    place = options, weights[0].data_ptr()
    found = _LAYERS.pop(place, None) or Weights()
    while len(_LAYERS) >= MOST_LAYERS:
        del _LAYERS[next(iter(_LAYERS))]        # the one that has not been used for the longest time
    _LAYERS[place] = found
    return found.layer(options, weights, record=record)
