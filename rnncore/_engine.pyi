from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

pool: Any  # a capsule with the engine's threads

class Weights:
    input_size: int
    hidden_size: int
    nbytes: int
    def __init__(
        self,
        cell: str,
        w_ih: NDArray[Any],
        w_hh: NDArray[Any],
        b_ih: NDArray[Any] | None = None,
        b_hh: NDArray[Any] | None = None,
    ) -> None: ...
    def pack_backward(self, w_ih: NDArray[Any], w_hh: NDArray[Any]) -> None: ...

class Block(Buffer):
    nbytes: int
    def __buffer__(self, flags: int, /) -> memoryview: ...

def carve(
    purpose: str, dtype: np.dtype[Any], shapes: tuple[tuple[int, ...] | None, ...]
) -> list[NDArray[Any] | None]: ...
def release_kept() -> None: ...
def get_kept_bytes() -> int: ...
def get_kept_limit() -> int: ...
def set_kept_limit(limit: int) -> None: ...

class Steps:
    weights: list[Weights]
    batch: int
    def __init__(
        self,
        weights: list[Weights],
        batch: int,
        h: NDArray[Any] | None = None,
        c: NDArray[Any] | None = None,
    ) -> None: ...
    def run(self, x: Buffer, out: Buffer) -> bool: ...
    def advance(
        self, x: Buffer, h: Buffer | None, c: Buffer | None, h_out: Buffer, c_out: Buffer | None
    ) -> bool: ...

class OpenBlock:
    def __init__(
        self,
        lock: Any,
        owned: list[tuple[Any, dict[str, str]]],
        threads: Any,
        mapping: Callable[[dict[str, NDArray[Any]]], Any],
    ) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *error: object) -> None: ...

class Threads:
    def __init__(self, n: int) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def replace_values(
    lock: Any,
    owned: list[tuple[Any, dict[str, str]]],
    values: dict[str, NDArray[Any]],
    open: dict[int, Any],
) -> None: ...
def count_versions(owned: list[tuple[Any, dict[str, str]]]) -> None: ...
def forward(
    w: Weights,
    x: NDArray[Any],
    out: NDArray[Any],
    h: NDArray[Any],
    c: NDArray[Any] | None = None,
    *,
    gates: NDArray[Any] | None = None,
    c_out: NDArray[Any] | None = None,
    lengths: NDArray[np.intp] | None = None,
    reverse: bool = False,
) -> None: ...
def backward(
    w: Weights,
    *,
    x: NDArray[Any],
    h: NDArray[Any],
    h0: NDArray[Any],
    dh: NDArray[Any],
    gates: NDArray[Any] | None = None,
    c: NDArray[Any] | None = None,
    c0: NDArray[Any] | None = None,
    dc: NDArray[Any] | None = None,
    grad_out: NDArray[Any] | None = None,
    delta: NDArray[Any] | None = None,
    total_h: NDArray[Any] | None = None,
    total_c: NDArray[Any] | None = None,
    grad_x: NDArray[Any] | None = None,
    accumulate: bool = False,
    w_ih: NDArray[Any] | None = None,
    w_hh: NDArray[Any] | None = None,
    b_ih: NDArray[Any] | None = None,
    b_hh: NDArray[Any] | None = None,
    fresh: bool = False,
    lengths: NDArray[np.intp] | None = None,
    reverse: bool = False,
) -> None: ...
def activation(name: str, x: NDArray[Any], out: NDArray[Any]) -> None: ...
def cell_info(name: str) -> dict[str, Any]: ...
def isa() -> str: ...
def isas() -> tuple[str, ...]: ...
def compiler() -> str: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
