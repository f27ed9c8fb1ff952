"""Do the tiles keep their accumulators in registers? Reads the assembler that a compiler makes of the kernels.

    python tools/spills.py gcc clang-14

For each compiler, instruction set and type it prints the tiles (see src/kernels/tile.h) in whose blocks of
multiply-adds vectors are moved to or from the stack, and how many such moves there are. Only for x86-64.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

KERNELS = Path(__file__).resolve().parents[1] / "src" / "kernels"
FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fPIC", "-w", "-S", "-o-"]
FEWEST = 6  # multiply-adds in a block of instructions without jumps that counts as the inside of a tile


def spills(assembler: str) -> dict[str, int]:
    """Moves of vectors between registers and the stack, by tile."""
    found: dict[str, int] = {}
    name, block = "", list[str]()
    for line in [*assembler.splitlines(), "end:"]:
        label = re.match(r"([.\w]+):", line)
        if label is None:
            block.append(line)
            continue
        if name.startswith("tile_") and sum("vfmadd" in one for one in block) >= FEWEST:
            moves = sum(bool(re.search(r"\bvmov\S*\s.*\(%rsp\)", one)) for one in block)
            if moves:
                found[name] = found.get(name, 0) + moves
        block = []
        if not label[1].startswith("."):
            name = label[1]
    return found


def main(compilers: list[str]) -> None:
    for compiler in compilers or ["gcc"]:
        for isa in ("v3", "v4"):
            for kind in ("f32", "f64"):
                source = KERNELS / f"isa_{isa}_{kind}.c"
                done = subprocess.run([compiler, *FLAGS, str(source)], capture_output=True, text=True, check=True)
                print(compiler, isa, kind, spills(done.stdout) or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
