/** Orders of the units of a layer, in which a picture of all of them can be read. */
import type { PartTape } from "../engine/network";
import type { CellDescription } from "../payload";

/** Units in descending order of their time scale: that of the gate that keeps the old state, or that of h itself. */
export function slowestFirst(tape: PartTape, cell: CellDescription, slots: number, H: number): number[] {
  const gate = cell.gates.find(({ name }) => name === (cell.keeps ?? cell.enters));
  const speed = Array.from({ length: H }, (_, unit) =>
    gate ? -meanLogKept(tape, gate.slot * H + unit, slots * H, cell.keeps !== null) : meanChange(tape, unit, H),
  );
  return Array.from(speed.keys()).sort((a, b) => speed[a]! - speed[b]!);
}

/** The mean of ln f: viz.timescales is −1 divided by it. */
function meanLogKept(tape: PartTape, start: number, stride: number, keeps: boolean): number {
  let sum = 0;
  let count = 0;
  for (let at = start; at < tape.slots.length; at += stride, count++) {
    sum += Math.log(Math.max(keeps ? tape.slots[at]! : 1 - tape.slots[at]!, 1e-30));
  }
  return sum / Math.max(count, 1);
}

/** The mean square of the change of h in a step, relative to its variance. */
function meanChange(tape: PartTape, unit: number, H: number): number {
  const T = tape.h.length / H;
  let [sum, squares, changes] = [0, 0, 0];
  for (let t = 0; t < T; t++) {
    const h = tape.h[t * H + unit]!;
    sum += h;
    squares += h * h;
    changes += (h - tape.hBefore[t * H + unit]!) ** 2;
  }
  return changes / Math.max(squares - (sum * sum) / Math.max(T, 1), 1e-30);
}

/** Enough steps to see which units act alike, and rounds of the iteration that finds the two directions. */
const [SAMPLED, ROUNDS] = [256, 16];

/**
 * Units by the angle of their loadings on the two leading principal components of h, as viz.unit_order(by="likeness"):
 * neighbours vary together.
 */
export function alike(h: Float32Array, H: number): number[] {
  const T = h.length / H;
  const every = Math.max(1, Math.ceil(T / SAMPLED));
  const steps = Array.from({ length: Math.floor(T / every) }, (_, k) => k * every * H);
  const all = Array.from({ length: H }, (_, unit) => unit);
  if (steps.length < 2 || H < 3) return all;
  const columns = all.map((unit) => standardised(Float64Array.from(steps, (at) => h[at + unit]!)));
  // the directions over the steps, orthonormal, after rounds of X·Xᵀ; the start has a little of everything
  let basis: Float64Array[] = [1, 2].map((k) => Float64Array.from(steps, (_, t) => Math.cos(k * t * t + k)));
  for (let round = 0; round < ROUNDS; round++) {
    const next = basis.map((direction) => {
      const out = new Float64Array(steps.length);
      for (const column of columns) {
        const share = dot(column, direction);
        for (let t = 0; t < out.length; t++) out[t]! += share * column[t]!;
      }
      return out;
    });
    basis = orthonormal(next as [Float64Array, Float64Array]);
  }
  const angle = columns.map((column) => Math.atan2(dot(column, basis[1]!), dot(column, basis[0]!)));
  return all.sort((a, b) => angle[a]! - angle[b]!);
}

function standardised(values: Float64Array): Float64Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const size = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0));
  return values.map((value) => (value - mean) / Math.max(size, 1e-30));
}

function orthonormal([a, b]: [Float64Array, Float64Array]): Float64Array[] {
  const scaled = (v: Float64Array): Float64Array => {
    const size = Math.max(Math.sqrt(dot(v, v)), 1e-30);
    return v.map((value) => value / size);
  };
  const first = scaled(a);
  const share = dot(first, b);
  return [first, scaled(b.map((value, t) => value - share * first[t]!))];
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let t = 0; t < a.length; t++) sum += a[t]! * b[t]!;
  return sum;
}
