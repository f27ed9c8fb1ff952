/** Why a network forgets: how much of the gradient each step lets through, which gate decides it, and where it is lost. */
import type { LayerTape } from "./engine/network";
import type { CellDescription } from "./payload";
import type { Shown } from "./session";

/** What one network does with the gradient of the loss looked at, on its way back through one layer. */
export interface Finding {
  run: Shown;
  /** The step of the loss, and how many steps back the dependence on the input is at least REACH of the largest. */
  step: number;
  reach: number;
  /** Whether that is the beginning of the sequence. */
  whole: boolean;
  /** The share of the state's gradient that is left where the dependence ends; NaN if there is none at all. */
  left: number;
  /** By what a step multiplies the state's gradient: the geometric mean. */
  pace: number;
  /** The share that the gate, or the slope of the nonlinearity, lets through in a step: geometric mean, and least. */
  through: number;
  least: { step: number; through: number };
  /** What is let in of the candidate, on average over steps and units; NaN in a cell without gates. */
  entering: number;
}

/** The gradient of the state that carries: c of an LSTM, h of others. */
function carried(run: Shown, layer: number): { sizes: Float64Array; gradient: Float32Array } {
  const { h, c } = run.gradients.layers[layer]!;
  const flow = run.flow[layer]!;
  return { sizes: flow.c ?? flow.h, gradient: c ?? h };
}

/**
 * The factor by which a unit's state is multiplied in a step: the gate that keeps, or the slope of the nonlinearity, by
 * which a plain RNN multiplies before its weights do.
 */
export function factorOf(
  tape: LayerTape,
  cell: CellDescription,
  slots: number,
  H: number,
  t: number,
  unit: number,
): number {
  const gate = cell.gates.find(({ name }) => name === (cell.keeps ?? cell.enters));
  if (gate) {
    const value = tape.slots[(t * slots + gate.slot) * H + unit]!;
    return cell.keeps === null ? 1 - value : value;
  }
  const h = tape.h[(t + 1) * H + unit]!;
  if (cell.curve === "tanh") return 1 - h * h;
  return cell.curve === "sigmoid" ? h * (1 - h) : Number(h > 0);
}

export function diagnose(run: Shown, layer: number, step: number): Finding {
  const { H, cell: kernel } = run.model.network;
  const { cell } = run.model.description;
  const tape = run.forward.tape.layers[layer]!;
  const { sizes, gradient } = carried(run, layer);
  const whole = run.reach === step;
  const back = whole ? step : run.reach + 1; // up to the step where it is gone
  const end = Math.max(0, step - back);
  let logs = 0;
  let count = 0;
  const least = { step: step, through: Infinity };
  for (let t = step; t > end; t--) {
    let [kept, all] = [0, 0];
    for (let unit = 0; unit < H; unit++) {
      const g = gradient[t * H + unit]! ** 2;
      all += g;
      kept += g * factorOf(tape, cell, kernel.slots, H, t, unit) ** 2;
    }
    if (!(all > 0)) continue;
    const through = Math.sqrt(kept / all);
    logs += Math.log(Math.max(through, 1e-30));
    count += 1;
    if (through < least.through) Object.assign(least, { step: t, through });
  }
  const largest = sizes.reduce((most, value) => Math.max(most, value), 0);
  const gate = cell.gates.find(({ name }) => name === (cell.enters ?? cell.keeps));
  const mean = gate ? meanOfGate(tape, gate.slot, kernel.slots, H, end, step) : NaN;
  return {
    run,
    step,
    reach: run.reach,
    whole,
    left: largest > 0 ? sizes[end]! / largest : NaN,
    pace: (sizes[end]! / sizes[step]!) ** (1 / Math.max(1, step - end)),
    through: count > 0 ? Math.exp(logs / count) : NaN,
    least,
    entering: cell.enters === null ? 1 - mean : mean,
  };
}

function meanOfGate(tape: LayerTape, slot: number, slots: number, H: number, first: number, last: number): number {
  let sum = 0;
  for (let t = first; t <= last; t++) {
    const from = (t * slots + slot) * H;
    for (let unit = 0; unit < H; unit++) sum += tape.slots[from + unit]!;
  }
  return sum / ((last - first + 1) * H);
}

// ---------------------------------------------------------------- breakpoints

export interface Breakpoint {
  step: number;
  kind: "not finite" | "vanishes" | "explodes" | "saturated";
  /** The number that the kind is about: a share, a factor, or steps in a row. */
  value: number;
  /** For "saturated": what is. */
  what?: string;
}

/** Of the largest gradient, and of that at the loss. */
const [VANISHED, EXPLODED] = [1e-4, 100];
/** A value is at its end within EDGE; a gate is saturated where at least HALF of its units are, for LONG steps. */
const [EDGE, HALF, LONG] = [0.01, 0.5, 10];

/** The steps at which something goes wrong, in the order of the kinds above. */
export function breakpoints(run: Shown, layer: number, step: number): Breakpoint[] {
  const { sizes } = carried(run, layer);
  const tape = run.forward.tape.layers[layer]!;
  const { H, cell: kernel } = run.model.network;
  const { cell } = run.model.description;
  const found: Breakpoint[] = [];
  const wrong = tape.h.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) found.push({ step: Math.max(0, Math.floor(wrong / H) - 1), kind: "not finite", value: NaN });
  const largest = sizes.reduce((most, value) => Math.max(most, value), 0);
  const peak = sizes.indexOf(largest);
  if (sizes[step]! > 0 && largest >= EXPLODED * sizes[step]!) {
    found.push({ step: peak, kind: "explodes", value: largest / sizes[step]! });
  }
  const first = sizes.findIndex((value) => value >= VANISHED * largest);
  if (largest > 0 && first > 0) found.push({ step: first - 1, kind: "vanishes", value: VANISHED });
  const T = tape.h.length / H - 1;
  const saturated = (what: string, curve: Curve, at: (t: number, unit: number) => number): void => {
    const { start, length } = longestStretch(T, (t) => saturatedShare(at, t, H, curve) >= HALF);
    if (length >= LONG) found.push({ step: start, kind: "saturated", value: length, what });
  };
  for (const { words, slot, curve } of cell.gates) {
    if (curve) saturated(words, curve, (t, unit) => tape.slots[(t * kernel.slots + slot) * H + unit]!);
  }
  if (cell.gates.length === 0 && cell.curve !== "relu") {
    saturated("hidden state", cell.curve, (t, unit) => tape.h[(t + 1) * H + unit]!);
  }
  return found;
}

type Curve = "sigmoid" | "tanh" | "relu";

/** The share of the units whose value is within EDGE of an end of the nonlinearity's range. */
function saturatedShare(
  at: (t: number, unit: number) => number,
  t: number,
  H: number,
  curve: Curve,
): number {
  let count = 0;
  const low = curve === "tanh" ? -1 : 0;
  for (let unit = 0; unit < H; unit++) {
    const value = at(t, unit);
    if (value < low + EDGE || value > 1 - EDGE) count += 1;
  }
  return count / H;
}

function longestStretch(T: number, holds: (t: number) => boolean): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = -1;
  for (let t = 0; t <= T; t++) {
    if (t < T && holds(t)) {
      if (start < 0) start = t;
    } else if (start >= 0) {
      if (t - start > best.length) best = { start, length: t - start };
      start = -1;
    }
  }
  return best;
}
