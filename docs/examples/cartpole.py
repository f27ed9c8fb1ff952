"""A recurrent policy for CartPole that does not see velocities, trained with resets inside its sequences.

    python docs/examples/cartpole.py            (with --torch: the same update by torch.nn.GRU and by rnncore.torch)

The policy sees the positions of the cart and of the pole, and has to remember how they move. Many environments run side
by side, and each begins a new episode as soon as one has ended. So the steps of one environment are a sequence of
several episodes: `reset` marks where they begin, and no episode has to be cut out, padded or sorted.

It is trained by proximal policy optimisation (Schulman et al. 2017): rnncore computes the network and its gradients,
the rest is numpy.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import rnncore as rc
from rnncore.nn import Linear, ModelStream, SequenceModel

ACTIONS = 2
DISCOUNT, TRACE, CLIP, OF_VALUE, OF_ENTROPY = 0.99, 0.95, 0.2, 0.5, 0.01


class CartPole:
    """Many carts with a pole (Barto, Sutton and Anderson 1983), with the constants of gymnasium's CartPole-v1.

    Parameters
    ----------
    count : int
        The number of environments.
    limit : int
        An episode ends after so many steps, if the pole has not fallen and the cart not left the track before.
    """

    def __init__(self, count: int, limit: int, rng: np.random.Generator) -> None:
        self.rng, self.limit = rng, limit
        self.state, self.steps = np.empty((count, 4)), np.empty(count, int)
        self._begin(np.ones(count, bool))

    def _begin(self, rows: np.ndarray) -> None:
        self.state[rows] = self.rng.uniform(-0.05, 0.05, (rows.sum(), 4))
        self.steps[rows] = 0

    def observe(self) -> np.ndarray:
        """The positions of cart and pole, (count, 2), each about 1 at its limit."""
        return (self.state[:, [0, 2]] / [2.4, 0.21]).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Push to the left (0) or to the right (1); returns where an episode has ended, and of how many steps it was.

        A new episode has begun there.
        """
        _, v, angle, spin = self.state.T
        gravity, pole, mass, half = 9.8, 0.1, 1.1, 0.5          # mass: of cart and pole; half: half the pole's length
        sin, cos = np.sin(angle), np.cos(angle)
        force = (np.where(action == 1, 10.0, -10.0) + pole * half * spin**2 * sin) / mass
        spin_rate = (gravity * sin - cos * force) / (half * (4 / 3 - pole * cos**2 / mass))
        rate = force - pole * half * spin_rate * cos / mass
        self.state += 0.02 * np.stack([v, rate, spin, spin_rate], axis=1)
        self.steps += 1
        ended = (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > np.pi / 15) | (self.steps >= self.limit)
        steps = self.steps.copy()
        self._begin(ended)
        return ended, steps


@dataclass
class Rollout:
    """T steps of B environments: what the policy saw and did, and how good that was.

    Attributes
    ----------
    x : ndarray (T, B, 2)
    reset : ndarray of bool (T, B)
        True where an episode begins.
    state : ndarray (1, B, H)
        The state of the network before the first step.
    action : ndarray of int (T, B)
    log_prob, advantage, returns : ndarray (T, B)
    lengths : list of int
        The steps of the episodes that ended.
    """

    x: np.ndarray
    reset: np.ndarray
    state: np.ndarray
    action: np.ndarray
    log_prob: np.ndarray
    advantage: np.ndarray
    returns: np.ndarray
    lengths: list[int]


def collect(stream: ModelStream, env: CartPole, begins: np.ndarray, steps: int, rng: np.random.Generator) -> Rollout:
    """Let the policy act for some steps. `begins` (B,) tells where an episode begins now, and is updated."""
    B = len(begins)
    x, reset = np.empty((steps, B, 2), np.float32), np.empty((steps, B), bool)
    action, output = np.empty((steps, B), int), np.empty((steps + 1, B, ACTIONS + 1), np.float32)
    state, lengths = np.asarray(stream.state), []
    for t in range(steps):
        x[t], reset[t] = env.observe(), begins
        stream.reset(rows=begins)
        stream.step(x[t], out=output[t])
        shares = np.exp(log_softmax(output[t, :, :ACTIONS]))
        action[t] = rng.random(B) > shares[:, 0]
        begins[...], length = env.step(action[t])
        lengths += length[begins].tolist()
    after = stream.state                                # the value of what comes next, without taking a step
    stream.reset(rows=begins)
    stream.step(env.observe(), out=output[steps])
    stream.state = after
    chosen = np.take_along_axis(log_softmax(output[:-1, :, :ACTIONS]), action[..., None], 2)[..., 0]
    value = output[..., ACTIONS].astype(float)
    goes_on = 1.0 - np.concatenate([reset[1:], begins[None]])
    advantage, ahead = np.empty((steps, B)), np.zeros(B)
    for t in reversed(range(steps)):                    # Schulman et al. 2016; a step's reward makes returns at most 1
        ahead = 1 - DISCOUNT + DISCOUNT * goes_on[t] * value[t + 1] - value[t] + DISCOUNT * TRACE * goes_on[t] * ahead
        advantage[t] = ahead
    returns = advantage + value[:-1]
    return Rollout(x, reset, state, action, chosen, (advantage - advantage.mean()) / (advantage.std() + 1e-8), returns,
                   lengths)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def gradient(output: np.ndarray, rollout: Rollout) -> np.ndarray:
    """∂loss/∂output of the clipped objective, of the squared error of the values, and of the entropy."""
    log_shares, value = log_softmax(output[..., :ACTIONS].astype(float)), output[..., ACTIONS]
    shares = np.exp(log_shares)
    chosen = np.take_along_axis(log_shares, rollout.action[..., None], 2)[..., 0]
    ratio, good = np.exp(chosen - rollout.log_prob), rollout.advantage > 0
    clipped = np.where(good, ratio > 1 + CLIP, ratio < 1 - CLIP)
    of_chosen = -rollout.advantage * ratio * ~clipped
    grad = np.empty(output.shape)
    grad[..., :ACTIONS] = of_chosen[..., None] * (np.eye(ACTIONS)[rollout.action] - shares)
    entropy = -(shares * log_shares).sum(axis=-1, keepdims=True)
    grad[..., :ACTIONS] += OF_ENTROPY * shares * (log_shares + entropy)
    grad[..., ACTIONS] = 2 * OF_VALUE * (value - rollout.returns)
    return (grad / rollout.action.size).astype(output.dtype)


def gradients(model: SequenceModel, rollout: Rollout) -> dict[str, np.ndarray]:
    """The gradients of all weights, through the episodes of all environments at once."""
    record = model.record(rollout.x, rollout.state, reset=rollout.reset)
    return record.backward(gradient(record.output, rollout)).parameters


def policy(hidden: int, seed: int) -> SequenceModel:
    """Two logits and a value from the positions."""
    return SequenceModel(None, rc.GRU(2, hidden, seed=seed), Linear(hidden, ACTIONS + 1, seed=seed), loss="mse")


def train(updates: int, *, count: int = 32, steps: int = 128, hidden: int = 32, epochs: int = 4, limit: int = 500,
          lr: float = 0.003, seed: int = 0, report: Callable[[int, float, float], object] | None = None
          ) -> tuple[SequenceModel, list[float], Rollout]:
    """Train a policy; returns it, the mean steps of the episodes that ended in each update, and the last rollout."""
    rng = np.random.default_rng(seed)
    model, env = policy(hidden, seed), CartPole(count, limit, rng)
    stream, begins = model.stream(batch_size=count), np.ones(count, bool)
    optimiser, means = rc.optim.Adam(model, lr=lr), []
    started = time.perf_counter()
    for update in range(updates):
        optimiser.lr = lr * (1 - update / updates)
        rollout = collect(stream, env, begins, steps, rng)
        for _ in range(epochs):
            grads = gradients(model, rollout)
            rc.optim.clip_grad_norm(grads, 0.5)
            optimiser.step(grads)
        means.append(float(np.mean(rollout.lengths)) if rollout.lengths else float(limit))
        if report is not None:
            report(update + 1, means[-1], time.perf_counter() - started)
    return model, means, rollout


# ---- the same update in torch --------------------------------------------------------------------


def torch_update(rollout: Rollout, model: SequenceModel, *, resets: bool) -> tuple[Callable[[], None], dict]:
    """One pass forward and backward by torch's autograd, and the modules' parameters, whose gradients it fills in.

    With `resets`, the layer is `rnncore.torch.GRU`; without, it is `torch.nn.GRU` on packed episodes, each of which was
    cut out of its environment's steps.
    """
    import torch

    import rnncore.torch as rt

    hidden = model.layer.hidden_size
    layer, head = (rt if resets else torch.nn).GRU(2, hidden), torch.nn.Linear(hidden, ACTIONS + 1)
    modules = torch.nn.ModuleDict({"layer": layer, "head": head})
    modules.load_state_dict({name: torch.tensor(value) for name, value in model.state_dict().items()})
    x, h0 = torch.tensor(rollout.x), torch.tensor(rollout.state)
    action, old, advantage, returns = (
        torch.tensor(part) for part in (rollout.action, rollout.log_prob, rollout.advantage, rollout.returns))

    def split() -> torch.Tensor:
        """The outputs (T, B, H) by torch's layer, episode by episode."""
        T, B = rollout.reset.shape
        where = [(b, t0, t1) for b in range(B)
                 for cuts in [[0, *np.flatnonzero(rollout.reset[1:, b]) + 1, T]]
                 for t0, t1 in pairwise(cuts)]
        packed = torch.nn.utils.rnn.pack_sequence([x[t0:t1, b] for b, t0, t1 in where], enforce_sorted=False)
        zero = torch.zeros(hidden)
        first = [zero if t0 or rollout.reset[0, b] else h0[0, b] for b, t0, _ in where]
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed, torch.stack(first)[None])[0])
        rows: list[list[torch.Tensor]] = [[] for _ in range(B)]
        for k, (b, t0, t1) in enumerate(where):
            rows[b].append(padded[: t1 - t0, k])
        return torch.stack([torch.cat(parts) for parts in rows], dim=1)

    def update() -> None:
        modules.zero_grad()
        output = head(layer(x, h0, reset=rollout.reset)[0] if resets else split())
        log_shares = output[..., :ACTIONS].log_softmax(-1)
        chosen = log_shares.gather(2, action[..., None])[..., 0]
        ratio = (chosen - old).exp()
        gain = torch.minimum(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP))
        entropy = -(log_shares.exp() * log_shares).sum(-1)
        loss = (OF_VALUE * (output[..., ACTIONS] - returns) ** 2 - gain - OF_ENTROPY * entropy).mean()
        loss.backward()

    return update, dict(modules.named_parameters())


def seconds(call: Callable[[], object], repeats: int = 10) -> float:
    """The median time of a call."""
    times = []
    for _ in range(repeats + 2):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return float(np.median(times[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--updates", type=int, default=250)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torch", action="store_true", help="also time the update in torch")
    options = parser.parse_args()

    def report(update: int, mean: float, time_taken: float) -> None:
        if update % 10 == 0:
            print(f"| {update} | {mean:.0f} | {time_taken:.1f} |", flush=True)

    print("| updates | mean steps of an episode | seconds |\n|---|---|---|")
    model, _, rollout = train(options.updates, hidden=options.hidden, seed=options.seed, report=report)
    rows = {"rnncore, with resets": lambda: gradients(model, rollout)}
    if options.torch:
        rows["rnncore.torch.GRU, with resets"] = torch_update(rollout, model, resets=True)[0]
        rows["torch.nn.GRU, packed episodes"] = torch_update(rollout, model, resets=False)[0]
    print("\n| forward and backward | ms |\n|---|---|")
    for name, call in rows.items():
        print(f"| {name} | {1e3 * seconds(call):.1f} |")


if __name__ == "__main__":
    main()
