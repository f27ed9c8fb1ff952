"""Do the tiles keep their accumulators in registers? Reads the assembler that a compiler makes of the kernels.

    python tools/spills.py gcc clang-14

For each compiler, instruction set and type it prints the tiles (see src/kernels/tile.h) in whose blocks of
multiply-adds vectors are moved to or from the stack, and how many such moves there are; or "loops", if no block has
all multiply-adds of a round, because the compiler has not written out the loops and the accumulators are in memory.
Only for x86-64.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

KERNELS = Path(__file__).resolve().parents[1] / "src" / "kernels"
FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fPIC", "-w", "-S", "-o-"]
FEWEST = 6  # multiply-adds in a block of instructions without jumps that counts as the inside of a tile


def spills(assembler: str) -> dict[str, int | str]:
    """Moves of vectors between registers and the stack, by tile."""
    moved: dict[str, int] = {}
    most: dict[str, int] = {}  # multiply-adds of a block, by tile
    name, block = "", list[str]()
    for line in [*assembler.splitlines(), "end:"]:
        label = re.match(r"([.\w]+):", line)
        if label is None:
            block.append(line)
            continue
        if name.startswith("tile_"):
            multiply_adds = sum("vfmadd" in one for one in block)
            most[name] = max(most.get(name, 0), multiply_adds)
            moves = sum(bool(re.search(r"\bvmov\S*\s.*\(%rsp\)", one)) for one in block)
            if moves and multiply_adds >= FEWEST:
                moved[name] = moved.get(name, 0) + moves
        block = []
        if not label[1].startswith("."):
            name = label[1]
    rounds = {name: math.prod(map(int, re.findall(r"\d+", name))) for name in most}  # rows, vectors, panels
    in_memory = {name: "loops" for name, count in most.items() if count < rounds[name]}
    return {**moved, **in_memory}


def main(compilers: list[str]) -> None:
    for compiler in compilers or ["gcc"]:
        for isa in ("v3", "v4"):
            for kind in ("f32", "f64"):
                source = KERNELS / f"isa_{isa}_{kind}.c"
                done = subprocess.run([compiler, *FLAGS, str(source)], capture_output=True, text=True, check=True)
                print(compiler, isa, kind, spills(done.stdout) or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
