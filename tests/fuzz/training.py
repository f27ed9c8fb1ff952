"""The parts of training, linear layers, losses, optimisers and the loop, against plain numpy in float64."""

import math
import tempfile
from pathlib import Path

import numpy as np
from support import TOLERANCE, all_close, close, judge_results, parts, random_state, same_bits

from fuzz.layers import LAYOUTS, draw_layer
from rnncore import data, nn, optim, train


def linear(draw):
    """y = x·Wᵀ + b and its adjoint; rows of a table and theirs; dropout scales what it keeps."""
    dtype, shape = draw.one_of("dtype", ("float32", "float64")), [draw.size("axis", 0, 5) for _ in range(2)]
    shape = shape[: draw.size("axes", 0, 2)]
    I, O, seed = draw.size("I", 1, 9), draw.size("O", 1, 9), draw.size("seed", 0, 99)
    g = draw.normal(*shape, O, dtype=dtype)
    kind = draw.one_of("kind", ("linear", "embedding", "dropout"))
    if kind == "linear":
        module, x = nn.Linear(I, O, draw.flag("bias"), dtype=dtype, seed=seed), draw.normal(*shape, I, dtype=dtype)
        given = LAYOUTS[draw.one_of("layout", LAYOUTS)](x)
        W, b = (np.asarray(module.state_dict().get(name, 0), "float64") for name in ("weight", "bias"))
        record = module.record(given)
        same_bits(record.output, module(given), "record and call")
        eps = 8 * np.finfo(dtype).eps  # of the largest sum of terms, where they cancel
        close(record.output, x @ W.T + b, dtype, eps * (np.abs(x) @ np.abs(W.T) + np.abs(b)).max(initial=0))
        grads = record.backward(g)
        close(grads.input, g @ W, dtype, eps * (np.abs(g) @ np.abs(W)).max(initial=0))
        rows = g.reshape(-1, O).astype("float64")
        expected = {"weight": rows.T @ x.reshape(-1, I), "bias": rows.sum(0)}
        all_close(grads.parameters, {name: expected[name] for name in module.parameters}, cancelled(dtype, rows))
    elif kind == "embedding":
        module, tokens = nn.Embedding(I, O, dtype=dtype, seed=seed), draw.rng.integers(0, I, shape)
        record, table = module.record(tokens), module.state_dict()["weight"]
        same_bits(record.output, table[tokens], "rows of the table")
        expected = np.zeros((I, O))
        np.add.at(expected, tokens.ravel(), g.reshape(-1, O))
        close(record.backward(g).parameters["weight"], expected, cancelled(dtype, g))
    else:
        module, x = nn.Dropout(draw.one_of("p", (0.0, 0.3, 0.9)), seed=seed), draw.normal(*shape, O, dtype=dtype)
        same_bits(module(x), x, "a call drops nothing")
        record = module.record(x, train=True)
        kept = record.output != 0
        close(record.output, np.where(kept, x / (1 - module.p), 0), TOLERANCE[dtype])
        close(record.backward(g).input, np.where(kept, g / (1 - module.p), 0), TOLERANCE[dtype])


def cancelled(dtype, terms):
    """The tolerance of a sum of a few terms, which may cancel."""
    return TOLERANCE[dtype] * max(1, math.sqrt(np.size(terms)))


def losses(draw):
    """Cross-entropy and squared error over the counted targets, and their gradients by finite differences."""
    dtype, batch_first = draw.one_of("dtype", ("float32", "float64")), False
    T, B, F = draw.size("T", 0, 5), draw.size("B", 0, 4), draw.size("F", 1, 5)
    prediction = draw.normal(T, B, F, dtype=dtype) * draw.one_of("scale", (0.01, 1, 30))
    prediction = prediction.astype(dtype)
    counted, options = np.ones((T, B), bool), {}
    if draw.flag("mask"):
        options["mask"] = draw.rng.random((T, B)) < 0.6
        counted &= options["mask"]
    if draw.flag("lengths"):
        options["lengths"] = draw.rng.integers(0, T + 1, B)
        counted &= np.arange(T)[:, None] < options["lengths"]
        same_bits(nn.length_mask(options["lengths"], T, batch_first=batch_first),
                  np.arange(T)[:, None] < options["lengths"], "length_mask")
    exact = prediction.astype("float64")
    if draw.one_of("loss", ("cross_entropy", "mse")) == "mse":
        target = draw.normal(T, B, F, dtype=dtype)
        loss, grad = nn.mse(np.where(counted[..., None], prediction, np.nan).astype(dtype), target, **options)
        n = max(int(counted.sum()) * F, 1)
        error = np.where(counted[..., None], exact - target, 0)
        expected, expected_grad = (error**2).sum() / n, 2 * error / n
    else:
        target = draw.rng.integers(0, F, (T, B))
        ignored = draw.rng.random((T, B)) < 0.2
        counted &= ~ignored
        given = np.where(ignored, -100, target)
        loss, grad = nn.cross_entropy(np.where(counted[..., None], prediction, np.nan).astype(dtype), given, **options)
        top = exact.max(-1, keepdims=True)
        log_p = exact - top - np.log(np.exp(exact - top).sum(-1, keepdims=True))
        nll = np.where(counted, -np.take_along_axis(log_p, target[..., None], -1)[..., 0], 0)
        n = max(int(counted.sum()), 1)
        expected, expected_grad = nll.sum() / n, (np.exp(log_p) - np.eye(F)[target]) * counted[..., None] / n
        close(nn.token_nll(prediction, given, **options), nll, dtype, 1e-6 if dtype == "float32" else 1e-14)
    close(loss, expected, dtype, 1e-6 if dtype == "float32" else 1e-14)
    close(grad, expected_grad, dtype, 1e-7 if dtype == "float32" else 1e-15)
    assert (grad[~counted] == 0).all()


def models_to_train(draw):
    """A whole model's loss and gradients: embedding, twin of the layer, linear head."""
    layer = draw_layer(draw, layers=2)
    tokens = draw.size("tokens", 1, 6) if draw.flag("embedding") else 0
    T, B, O = draw.size("T", 1, 5), draw.size("B", 1, 4), draw.size("O", 1, 4)
    width = layer.structure.features
    embedding = nn.Embedding(tokens, layer.input_size, dtype=layer.dtype, seed=1) if tokens else None
    model = nn.SequenceModel(embedding, layer, nn.Linear(width, O, dtype=layer.dtype, seed=2), loss="mse")
    x = draw.rng.integers(0, tokens, (T, B)) if tokens else draw.normal(T, B, layer.input_size, dtype=layer.dtype)
    lengths = draw.rng.integers(0, T + 1, B) if draw.flag("lengths") else None
    state = random_state(layer, B, draw.rng) if draw.flag("state") else None
    target = draw.normal(T, B, O, dtype=layer.dtype)
    flip = (lambda a: a.swapaxes(0, 1)) if layer.batch_first else (lambda a: a)
    loss, grads, end = model.loss_and_grads(flip(x), flip(target), state, lengths, train=False)
    weights = {name: w.astype("float64") for name, w in model.state_dict().items()}

    def by_twin(judge):
        start = None if state is None else parts(state)
        run = judge.forward(weights["embedding.weight"][x] if tokens else x, start, lengths)
        W = weights["head.weight"]
        error = np.where(run.valid[..., None], run.output @ W.T + weights["head.bias"] - target, 0)
        n = max(int(run.valid.sum()) * O, 1)
        g = 2 * error / n
        back = judge.backward(run, g @ W)
        found = {f"layer.{name}": a for name, a in back.parameters.items()}
        found |= {"head.weight": np.einsum("tbo,tbf->of", g, run.output), "head.bias": g.sum((0, 1))}
        if tokens:
            table = np.zeros_like(weights["embedding.weight"])
            np.add.at(table, x, back.input)
            found = {"embedding.weight": table} | found
        return {"loss": (error**2).sum() / n} | found | {f"end {i}": a for i, a in enumerate(run.state)}

    judge_results(layer, {"loss": loss} | grads | {f"end {i}": a for i, a in enumerate(parts(end))}, by_twin,
                  slack=10)  # of the sums in the head and the loss


def plain_step(kind, o, w, g, buffers, t):
    """One update of one array in float64, by the papers' formulas."""
    if kind == "SGD":
        g = g + o["weight_decay"] * w
        m = o["momentum"] * buffers.get("momentum", 0) + g
        buffers["momentum"] = m
        return w - o["lr"] * (g + o["momentum"] * m if o["nesterov"] else m)
    beta1, beta2 = o["betas"]
    if kind == "AdamW":
        w = w * (1 - o["lr"] * o["weight_decay"])
    else:
        g = g + o["weight_decay"] * w
    m = buffers["m"] = beta1 * buffers.get("m", 0) + (1 - beta1) * g
    v = buffers["v"] = beta2 * buffers.get("v", 0) + (1 - beta2) * g * g
    return w - o["lr"] * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + o["eps"])


def draw_options(draw):
    """The name of an optimiser and its options."""
    kind = draw.one_of("optimiser", ("SGD", "Adam", "AdamW"))
    options = {"lr": draw.one_of("lr", (0.0, 1e-3, 0.5)), "weight_decay": draw.one_of("decay", (0.0, 0.1))}
    if kind == "SGD":
        momentum = draw.one_of("momentum", (0.0, 0.9))
        return kind, options | {"momentum": momentum, "nesterov": bool(momentum) and draw.flag("nesterov")}
    betas = draw.one_of("beta1", (0.0, 0.9)), draw.one_of("beta2", (0.5, 0.999))
    return kind, options | {"betas": betas, "eps": 1e-8}


def optimisers(draw):
    """Updates by plain formulas, also if the state is saved and loaded by `state_dict` in between; clipping."""
    dtype = draw.one_of("dtype", ("float32", "float64"))
    module = nn.Linear(draw.size("I", 1, 6), draw.size("O", 1, 6), draw.flag("bias"), dtype=dtype, seed=3)
    kind, options = draw_options(draw)
    optimiser = getattr(optim, kind)(module, **options)
    weights = {name: w.astype("float64") for name, w in module.state_dict().items()}
    buffers = {name: {} for name in weights}
    for t in range(1, draw.size("updates", 1, 6) + 1):
        grads = {name: draw.normal(*w.shape, dtype=dtype) for name, w in weights.items()}
        if draw.flag("clip"):
            limit = draw.one_of("max_norm", (0.1, 1.0, math.inf))
            norm = math.sqrt(sum((g.astype("float64") ** 2).sum() for g in grads.values()))
            clipped = {name: g * min(1, limit / (norm + 1e-6)) for name, g in grads.items()}
            close(optim.clip_grad_norm(grads, limit), norm, dtype)
            all_close(grads, clipped, dtype)
        if draw.flag("new optimiser"):
            fresh = getattr(optim, kind)(module, **options)
            fresh.load_state_dict(optimiser.state_dict())
            optimiser = fresh
        optimiser.step(grads)
        for name, w in weights.items():
            weights[name] = plain_step(kind, options, w, grads[name].astype("float64"), buffers[name], t)
    for name, w in module.state_dict().items():  # each update rounds a few times, at the size of a step or a weight
        close(w, weights[name], dtype, 10 * t * np.finfo(dtype).eps * (1 + options["lr"]) * 10)


def trainers(draw):
    """A run that is saved and resumed has the bits of one that is not; evaluation gives the mean loss."""
    cell, dropout = draw.one_of("cell", nn.CELLS), draw.one_of("dropout", (0.0, 0.5))
    tokens, layers = draw.size("tokens", 2, 5), draw.size("layers", 1, 2)
    windows = [(w[:-1], w[1:]) for w in draw.rng.integers(0, tokens, (draw.size("windows", 1, 4), 5, 2))]
    marks = [draw.rng.random(x.shape) < 0.2 if draw.flag("resets") else None for x, _ in windows]
    given = [data.Window(x, y, reset=reset) for (x, y), reset in zip(windows, marks, strict=True)]
    options = {"max_norm": (None, 0.1, 1.0)[draw.size("max_norm", 0, 2)], "carry": draw.flag("carry")}
    kind, settings = draw_options(draw)

    def trainer():
        model = nn.sequence_model(cell, tokens, hidden_size=4, embedding_size=3, num_layers=layers, dropout=dropout,
                                  seed=5)
        return train.Trainer(model, getattr(optim, kind)(model, **settings), given, **options)

    before, after = draw.size("before", 0, 5), draw.size("after", 0, 5)
    whole = trainer().fit(before + after, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        trainer().fit(before, progress=False).save(path, draw.told)
        other, notes = trainer().resume(path), train.read_checkpoint(path)[1]["notes"]
        same_bits(train.load_model(path)[0].state_dict(), other.model.state_dict(), "load_model and resume")
    assert notes == draw.told
    other.fit(after, progress=False)
    assert other.losses == whole.losses
    same_bits(other.model.state_dict(), whole.model.state_dict(), "resumed and whole")
    same_bits(other.optimiser.state_dict()["buffers"], whole.optimiser.state_dict()["buffers"], "buffers")
    total = [nn.cross_entropy(other.model(w.x, reset=w.reset)[0], w.targets)[0] for w in given]
    close(train.evaluate(other.model, given, carry=False), np.mean(total) / math.log(2), "float32")
