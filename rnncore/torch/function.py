"""A call that torch's autograd follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch.autograd import Function

from .tapes import as_tensor, tape_of

if TYPE_CHECKING:
    from torch import Tensor

    from rnncore.recurrent.tape import Tape

    from .passes import Call, Tensors

TWICE = ("rnncore.torch: gradients of gradients are not computed by rnncore's engine; use the modules of torch.nn "
         "where they are needed (rnncore.torch.restore(model) puts them back)")
CHANGED = ("If it is the output of a module of rnncore.torch: that shares its memory with the recorded pass, so change "
           "a copy of it, y = y.clone(). If it is a weight: call backward before the weights are changed.")


def recorded(call: Call, x: Tensor, states: Tensors, parameters: list[Tensor]) -> tuple[Tape, tuple[Tensor, ...]]:
    """Record a pass, and return its tape and its results, from which torch can go back to all these tensors."""
    kept: list[Tape] = []
    *results, _ = _Recorded.apply(call, kept, len(states), x, *states, *parameters)     # type: ignore[no-untyped-call]
    return kept[0], tuple(results)


class _Recorded(Function):
    @staticmethod
    def forward(ctx: Any, call: Call, kept: list[Tape], states: int, x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        tape = call.record(x, others[:states])
        kept.append(tape)
        results, key = call.outputs(tape), as_tensor(tape)
        ctx.call, ctx.states = call, states
        ctx.set_materialize_grads(False)
        # torch refuses to go back if one of these was changed in place: what backward reads, and the weights as well,
        # of which it reads a copy, since a change is as much a mistake here as it is in torch.nn
        watched = results[:1] if call.shares_output(tape) else ()
        ctx.save_for_backward(key, *watched, *others[states:])
        return *results, key

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        *cotangents, _ = given
        try:
            key = ctx.saved_tensors[0]
        except RuntimeError as error:
            if "modified by an inplace operation" in str(error):
                error.add_note(CHANGED)
            raise
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():             # create_graph=True
            found = _Gradients.apply(ctx.call, key, ctx.states, wanted, *cotangents)    # type: ignore[no-untyped-call]
        else:
            found = gradients(ctx.call, key, ctx.states, wanted, tuple(cotangents))
        return (None, None, None, *found)


class _Gradients(Function):
    """Gradients that torch knows to depend on what the pass was computed from, by the key; but not how."""

    @staticmethod
    def forward(ctx: Any, call: Call, key: Tensor, states: int, wanted: tuple[bool, ...],
                *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        return gradients(call, key, states, wanted, cotangents)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> NoReturn:
        raise NotImplementedError(TWICE)


def gradients(call: Call, key: Tensor, states: int, wanted: tuple[bool, ...], cotangents: Tensors) -> Tensors:
    """The gradients of x, of the states and of the parameters, or None where one is not wanted."""
    tape = tape_of(key)
    grad_x, of_states, of_parameters = call.gradients(tape, cotangents, wanted[0], any(wanted[1 + states:]))
    missing: list[Tensor | None] = [None] * (len(wanted) - 1 - states)
    found = [grad_x, *of_states, *(of_parameters or missing)]
    return tuple(gradient if is_wanted else None for gradient, is_wanted in zip(found, wanted, strict=True))
