"""Pairs of modules with the same weights, torch's and ours, and comparisons of what they compute."""

import torch

import rnncore.torch as rt

KINDS = ["LSTM", "GRU", "RNN"]
rnn = torch.nn.utils.rnn


def pair(kind, *sizes, dtype=torch.float64, **options):
    """A module of torch.nn and one of rnncore.torch with copies of its weights."""
    theirs = getattr(torch.nn, kind)(*sizes, dtype=dtype, **options)
    ours = getattr(rt, kind)(*sizes, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def random_state(module, *rows, dtype=torch.float64, requires_grad=False):
    """h, or (h, c); `rows` is the batch size, or nothing for one sequence."""
    widths = [module.proj_size or module.hidden_size, module.hidden_size][: 1 + (module.mode == "LSTM")]
    shapes = [(module.num_layers * (1 + module.bidirectional), *rows, width) for width in widths]
    found = [torch.randn(shape, dtype=dtype, requires_grad=requires_grad) for shape in shapes]
    return tuple(found) if len(found) > 1 else found[0]


def weighted(tensor):
    """A sum of the values with weights that depend on their places, so that no two gradients are equal."""
    places = torch.arange(tensor.numel(), dtype=tensor.dtype)
    return (tensor * torch.sin(places + 0.5).reshape(tensor.shape)).sum()


def results(module, x, hx=None, run=None):
    """Output, states and all gradients of one pass, by name; `run` calls the module, and returns tensor and state."""
    x = x.detach().clone().requires_grad_()
    hx = None if hx is None else [part.detach().clone().requires_grad_() for part in parts(hx)]
    given = None if hx is None else tuple(hx) if len(hx) > 1 else hx[0]
    module.zero_grad()
    y, state = module(x, given) if run is None else run(module, x, given)
    loss = weighted(y) + sum(weighted(part) * (2 + k) for k, part in enumerate(parts(state)))
    loss.backward()
    found = {"output": y, "grad_x": x.grad} | {f"state {k}": part for k, part in enumerate(parts(state))}
    found |= {f"grad_state {k}": part.grad for k, part in enumerate(hx or ())}
    found |= {f"grad {name}": parameter.grad for name, parameter in module.named_parameters()}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def agree(got, expected, tolerance):
    """Every array within `tolerance` of the largest value of its counterpart."""
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        assert got[name].shape == tensor.shape, name
        assert got[name].dtype == tensor.dtype, name
        if tensor.numel():
            error, largest = (got[name] - tensor).abs().max().item(), tensor.abs().max().item()
            assert error <= tolerance * largest, f"{name}: {error:.3g} of {largest:.3g}"


# Sums of up to a hundred terms in another order.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
