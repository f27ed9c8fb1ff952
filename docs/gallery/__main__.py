"""Draws all figures of docs/gallery.md and docs/memory.md: `make gallery`, or `python docs/gallery`.

It trains two small networks for the gallery and six for docs/memory.md: about two minutes on two cores.
"""

import argparse
import time
from pathlib import Path

import memory
import models
import nets
import pictures

from rnncore import viz


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="make gallery")
    folder = Path(__file__).resolve().parents[1] / "img"
    parser.add_argument("--out", type=Path, default=folder, help="folder for the figures (%(default)s)")
    parser.add_argument("--updates", type=int, default=1500, help="training updates per network (%(default)s)")
    parser.add_argument("--only", help="draw only figures whose name contains this")
    parser.add_argument("--style", default="page", help='"page", or "slide" for a projector (%(default)s)')
    options = parser.parse_args()

    import matplotlib

    matplotlib.use("Agg")
    viz.style.use(options.style)
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    if options.only in models.FIGURES:
        save(models.pictures({}, options.only), options)
    elif not (options.only or "").startswith("memory"):
        print("training on text and on the adding problem", flush=True)
        trained = {
            "text": nets.text_net(max(1, options.updates // 2)),
            "adding": nets.adding_net(options.updates),
        }
        save(pictures.pictures(trained), options)
        save(models.pictures(trained, options.only), options)
    if options.only is None or "memory" in options.only:
        print("training six networks for docs/memory.md", flush=True)
        save(memory.pictures(options.updates), options)
        print(memory.table())
    print(f"{time.perf_counter() - start:.0f} s; the figures are in {options.out}")


def save(found, options):
    import matplotlib.pyplot as plt

    for name, figure in found:
        if options.only is None or options.only in name:
            path = options.out / f"{name}.png"
            figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
            print(f"  {path}", flush=True)
        plt.close(figure)


if __name__ == "__main__":
    main()
