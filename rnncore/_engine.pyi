"""Types of the compiled module, src/engine/_engine.pyx. Arrays are float32 or float64, of one type in one call."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, Protocol, Self, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

from rnncore._typing import ArrayLike
from rnncore.module import Module
from rnncore.recurrent.lookup import Lookup
from rnncore.recurrent.nets import NetsSteps, NetsWalk
from rnncore.recurrent.passes import RecordedSteps, Walk, WholePass
from rnncore.recurrent.ragged import Batch, Batches
from rnncore.recurrent.resets import Resets

_HandedOut = TypeVar("_HandedOut")
_Array = NDArray[Any]
_Shape = tuple[int, ...]
_Activation = tuple[str, float, float]  # name, alpha, beta
_Variant = tuple[tuple[_Activation, ...], float, float, bool]  # activations, gate_clip, cell_clip, coupled
_Owned = list[tuple[Module, dict[str, str]]]  # each module, and {name in the whole: its own name}

ACTIVATIONS: dict[str, int]  # the kinds of activations by name
PEEPHOLES: int  # how many gates have them
shared: object  # a capsule with the threads and kernels that both compiled modules use

class _OpenBlocks(Protocol):
    of: dict[int, Any]

class _Stage(TypedDict):
    slot: int
    groups: int
    from_aux: bool

class _CellInfo(TypedDict):
    blocks: int
    slots: int
    slots_on_tape: bool
    states: int
    x_slot: int
    x_order: list[int]
    h_order: list[int]
    stages: list[_Stage]
    variants: bool

@disjoint_base
class Weights:
    @property
    def input_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def output_size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __new__(
        cls,
        cell: str | None = None,
        w_ih: _Array | None = None,
        w_hh: _Array | None = None,
        b_ih: _Array | None = None,
        b_hh: _Array | None = None,
        w_hr: _Array | None = None,
        *,
        peepholes: _Array | None = None,
        variant: _Variant | None = None,
    ) -> Self: ...
    @property
    def input_blocks(self) -> int: ...
    def pack_backward(self, w_ih: _Array, w_hh: _Array, w_hr: _Array | None = None) -> None: ...
    def holds(self, w_ih: _Array, w_hh: _Array, w_hr: _Array | None = None) -> bool: ...
    def unpack(self, w_ih: _Array, w_hh: _Array, w_hr: _Array | None = None) -> None: ...

@disjoint_base
class Sums:
    def __new__(
        cls, w: Weights, steps: RecordedSteps | NetsSteps, windows: bool, w_ih: _Array | None, w_hh: _Array,
        b_ih: _Array | None = None, b_hh: _Array | None = None, w_hr: _Array | None = None, *,
        peepholes: _Array | None = None, nets: int = 1,
    ) -> Self: ...
    def finish(self) -> None: ...

@disjoint_base
class LinearWeights:
    @property
    def in_features(self) -> int: ...
    @property
    def out_features(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __new__(cls, weight: _Array, bias: _Array | None = None) -> Self: ...
    def pack_backward(self, weight: _Array) -> None: ...

@disjoint_base
class Allocation(Buffer):
    @property
    def nbytes(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def carve(  # an array for each shape, None for None
    purpose: Literal["a tape", "gradients", "gradients of parameters"],
    dtype: np.dtype[Any],
    shapes: tuple[_Shape | None, ...],
    nets: int = 0,
) -> list[Any]: ...
def room(shape: _Shape, dtype: np.dtype[Any]) -> Any: ...
def release_kept() -> None: ...
def get_kept_bytes() -> int: ...
def get_kept_limit() -> int: ...
def set_kept_limit(limit: int) -> None: ...

@disjoint_base
class Stepper:
    @property
    def weights(self) -> list[Weights]: ...
    @property
    def batch(self) -> int: ...
    def __new__(
        cls, weights: list[Weights], batch: int, h: _Array | None = None, c: _Array | None = None
    ) -> Self: ...
    # False: not arrays that it can use as they are
    def step(self, x: object, out: object) -> bool: ...
    def block(self, x: object, out: object) -> bool: ...
    def predict(
        self, tokens: object, table: _Array, head: LinearWeights, x: _Array, h: _Array, out: _Array
    ) -> bool: ...
    def advance(self, x: _Array, h: object, c: object, h_out: _Array, c_out: _Array | None) -> bool: ...

@disjoint_base
class Steps:
    @property
    def _steps(self) -> Stepper: ...
    @property
    def _version(self) -> int: ...
    def _use(self, steps: Stepper, layer: object, version: int) -> None: ...
    def step(self, x_t: ArrayLike, out: _Array | None = None) -> _Array: ...
    def block(self, x: ArrayLike, out: _Array | None = None) -> _Array: ...

@disjoint_base
class OpenBlock(Generic[_HandedOut]):
    def __init__(
        self,
        lock: AbstractContextManager[Any],
        owned: _Owned,
        threads: _OpenBlocks,
        mapping: Callable[[dict[str, _Array]], _HandedOut],
    ) -> None: ...
    def __enter__(self) -> _HandedOut: ...
    def __exit__(self, *error: object) -> None: ...

@disjoint_base
class Threads:
    def __init__(self, n: int) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def replace_values(
    lock: AbstractContextManager[Any],
    owned: _Owned,
    values: dict[str, _Array],
    open: dict[int, Any],
) -> None: ...
def count_versions(owned: _Owned) -> None: ...
def set_most_threads(n: int) -> int: ...
def same_bytes(a: list[_Array], b: list[_Array]) -> bool: ...
def arrange(batch: Batch | Batches) -> None: ...
def arrange_plain(batch: Batch, lengths: object, x: object, batch_first: bool) -> bool | None: ...
def gather(padded: _Array, active: _Array, batch: Batch | Batches) -> None: ...
def spread(active: _Array, padded: _Array, batch: Batch | Batches) -> None: ...
def clear(padded: _Array, batch: Batch) -> None: ...
def reorder(array: _Array, order: _Array) -> _Array: ...
def is_mostly_padding(T: int, B: int, N: int) -> bool: ...
def check_lengths(lengths: _Array, steps: int) -> int: ...
def forward(
    w: Weights,
    x: _Array,
    out: _Array,
    states: list[_Array],
    position: int = 0,
    *,
    slots: _Array | None = None,
    c_out: _Array | None = None,
    batch: Batch | None = None,
    resets: Resets | None = None,
    first_step: int = 0,
    reverse: bool = False,
    looked_up: tuple[_Array, _Array] | None = None,
    clears: bool = False,
) -> None: ...
def backward(walk: Walk) -> None: ...
@disjoint_base
class Unpacked:
    def __new__(
        cls,
        cell: str,
        w_ih: _Array,
        w_hh: _Array,
        b_ih: _Array | None = None,
        b_hh: _Array | None = None,
        w_hr: _Array | None = None,
        *,
        peepholes: _Array | None = None,
        variant: _Variant | None = None,
    ) -> Self: ...
    def __len__(self) -> int: ...
    def __getitem__(self, k: int, /) -> Weights: ...
def pack_nets(
    cell: str,
    earlier: list[Weights | None],
    w_ih: _Array,
    w_hh: _Array,
    b_ih: _Array | None = None,
    b_hh: _Array | None = None,
    w_hr: _Array | None = None,
    *,
    peepholes: _Array | None = None,
    variant: _Variant | None = None,
) -> list[Weights]: ...
def pack_nets_backward(
    weights: list[Weights], w_ih: _Array, w_hh: _Array, w_hr: _Array | None = None
) -> None: ...
def call(
    weights: list[Weights], x: ArrayLike, state: object, lengths: object, directions: int, batch_first: bool
) -> tuple[_Array, Any] | None: ...
def record(
    weights: list[Weights], x: object, state: object, directions: int, batch_first: bool,
    lookup: Lookup | None, batch: Batch | None,
) -> WholePass | None: ...
def backward_recorded(
    weights: list[Weights], recorded: WholePass, batch: Batch | None, grad_output: object, grad_state: object,
    batched: bool, batch_first: bool, names: tuple[tuple[str | None, ...], ...], shapes: dict[str, _Shape],
) -> tuple[_Array, Any, dict[str, _Array], list[Any]] | None: ...
def walk_back_recorded(
    weights: list[Weights], recorded: WholePass, batch: Batch | None, grad_out: _Array | None, carry: list[_Array],
    names: tuple[tuple[str | None, ...], ...], parameters: dict[str, _Array], steps: list[Any], grad_x: _Array | None,
    clears: bool,
) -> None: ...
def forward_nets(
    weights: list[Weights] | Unpacked,
    x: _Array,
    out: _Array,
    states: list[_Array],
    position: int = 0,
    *,
    slots: _Array | None = None,
    c_out: _Array | None = None,
    batch: Batches | None = None,
    resets: Resets | None = None,
    first_step: int = 0,
    reverse: bool = False,
) -> None: ...
def backward_nets(weights: list[Weights] | Unpacked, walk: NetsWalk) -> None: ...
def linear_forward(w: LinearWeights, x: _Array, y: _Array) -> None: ...
def linear_backward(
    w: LinearWeights,
    x: _Array,
    grad_y: _Array,
    grad_x: _Array | None,
    grad_weight: _Array,
    grad_bias: _Array | None = None,
) -> None: ...
def cross_entropy(
    logits: _Array,
    targets: _Array,
    counted: _Array | None,
    ignored: int,
    steps: _Array | None,
    of_class: _Array | None,
    own: _Array | None,
    every: _Array | None,
    loss: _Array,
    grad: _Array | None,
) -> float: ...
def squared_error(
    predicted: _Array, targets: _Array, counted: _Array | None, steps: _Array | None, grad: _Array | None
) -> tuple[float, float]: ...
def draw(logits: _Array, temperature: float, random: Callable[[], float]) -> int: ...
def embed(table: _Array, tokens: _Array, rows: _Array) -> bool: ...  # False: a token is not in the table
def embedding_gradient(grad_table: _Array, tokens: _Array, grad_rows: _Array) -> None: ...
def project_table(w: Weights, table: _Array, products: _Array) -> None: ...
def table_backward(
    w: Weights, table: _Array, tokens: _Array, delta: _Array, grad_table: _Array, grad_w_ih: _Array
) -> None: ...
def update_sgd(
    values: list[_Array],
    grads: list[_Array],
    momenta: list[_Array],
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> None: ...
def update_adam(
    values: list[_Array],
    grads: list[_Array],
    exp_avg: list[_Array],
    exp_avg_sq: list[_Array],
    keep: float,
    weight_decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    root: float,
    step: float,
) -> None: ...
def sum_of_squares(arrays: list[_Array]) -> float: ...
def scale(arrays: list[_Array], factor: float) -> None: ...
def give_way(ns: int) -> int: ...
def threads_of_a_call() -> int: ...
def activation(name: Literal["sigmoid", "tanh"] | _Activation, x: _Array, out: _Array) -> None: ...
def cell_names() -> list[str]: ...
def cell_info(name: str) -> _CellInfo: ...
def isa() -> str: ...
def isas() -> tuple[str, ...]: ...
def compiler() -> str: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
