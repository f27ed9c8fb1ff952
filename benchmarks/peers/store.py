"""What was measured, kept in a file for each part and instruction set, point by point.

A killed run keeps the points that it had finished. Every point belongs to a *run*, which says when, where, of which
commit and with which libraries it was measured; a point that is measured again leaves its old run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .run import Point


class Store:
    """The results of one part.

    Parameters
    ----------
    path : Path, optional
        A JSON file, which need not exist; without one, nothing is written.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.runs: list[dict[str, Any]] = []
        self.points: dict[str, dict[str, Any]] = {}     # by Point.key; "run" is one of `runs`
        if path is not None and path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.runs = kept["runs"]
            self.points = {key: {**one, "run": self.runs[one["run"]]} for key, one in kept["points"].items()}

    def add(self, point: Point, run: dict[str, Any]) -> None:
        """Take in a measured point, and write the file."""
        self.points[point.key] = {
            "run": run, "rounds": point.rounds, "seconds": point.seconds, "absent": point.absent}
        self.save()

    def save(self) -> None:
        """Write the file; a reader finds the old one or the new one, never a part of one."""
        self.runs = [run for run in self.runs if any(one["run"] is run for one in self.points.values())]
        for one in self.points.values():
            if not any(one["run"] is run for run in self.runs):
                self.runs.append(one["run"])
        if self.path is None:
            return
        number = {id(run): k for k, run in enumerate(self.runs)}
        points = {key: {**one, "run": number[id(one["run"])], "seconds": rounded(one["seconds"])}
                  for key, one in self.points.items()}
        lines = [f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in points.items()]
        text = '{\n"runs": ' + json.dumps(self.runs, indent=1) + ',\n"points": {\n' + ",\n".join(lines) + "\n}}\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, self.path)

    def commit_of(self, point: Point) -> str | None:
        """The commit at which a point was measured; None if it was not."""
        kept = self.points.get(point.key)
        return kept["run"]["commit"] if kept else None

    def fill(self, points: list[Point]) -> list[Point]:
        """Those of the points that were measured, with their results."""
        found = []
        for point in points:
            if kept := self.points.get(point.key):
                point.samples = {name: [value] for name, value in kept["seconds"].items()}
                point.absent, point.rounds = dict(kept["absent"]), kept["rounds"]
                found.append(point)
        return found

    def runs_of(self, points: list[Point]) -> list[tuple[dict[str, Any], list[Point]]]:
        """Each run with those of the points that it measured, the latest first."""
        of: list[tuple[dict[str, Any], list[Point]]] = []
        for run in sorted(self.runs, key=lambda run: run["date"], reverse=True):
            own = [point for point in points if self.points[point.key]["run"] is run]
            if own:
                of.append((run, own))
        return of


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Five digits, which is more than a measurement has."""
    return {name: float(f"{value:.5g}") for name, value in seconds.items()}
