/** Why a network forgets: how much of the gradient each step lets through, which gate decides it, and where it is lost. */
import type { Gate } from "./payload";
import type { Shown, Way } from "./session";

/** What one network does with the gradient of the loss looked at, on its way back through a layer, in one direction. */
export interface Finding {
  run: Shown;
  way: Way;
  /** Whether the dependence on the input is at least REACH of the largest to the end of this way. */
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

/** The way of a part of a network: a layer, in one direction. */
export function wayOf(run: Shown, part: number): Way {
  return run.ways[part % run.ways.length]!;
}

/** The gradient of the state that carries: c of an LSTM, h of others. */
function carried(run: Shown, part: number): { sizes: Float64Array; gradient: Float32Array } {
  const { h, c } = run.gradients.parts[part]!;
  const flow = run.flow[part]!;
  return { sizes: flow.c ?? flow.h, gradient: c ?? h };
}

/** The gate that decides how much of a unit's old state is kept; undefined in a cell without gates. */
export function keepingGate(run: Shown): Gate | undefined {
  const { keeps, enters, gates } = run.model.description.cell;
  return gates.find(({ name }) => name === (keeps ?? enters));
}

/**
 * The factors (T, H) by which the units' states are multiplied in each step: the gate that keeps, or the slope of the
 * nonlinearity, by which a plain RNN multiplies before its weights do.
 */
export function factors(run: Shown, part: number): Float32Array {
  const tape = run.forward.tape.parts[part]!;
  const { network, description } = run.model;
  const { cell } = description;
  const gate = keepingGate(run);
  if (gate) {
    const { H, cell: kernel } = network;
    const found = new Float32Array(run.forward.T * H);
    for (let i = 0; i < found.length; i++) {
      const value = tape.slots[(Math.floor(i / H) * kernel.slots + gate.slot) * H + (i % H)]!;
      found[i] = cell.keeps === null ? 1 - value : value;
    }
    return found;
  }
  if (description.variant) return network.slopes(part, tape.h);
  if (cell.curve === "tanh") return tape.h.map((h) => 1 - h * h);
  return cell.curve === "sigmoid" ? tape.h.map((h) => h * (1 - h)) : tape.h.map((h) => Number(h > 0));
}

export function diagnose(run: Shown, part: number): Finding {
  const { H, cell: kernel } = run.model.network;
  const { cell } = run.model.description;
  const tape = run.forward.tape.parts[part]!;
  const { sizes, gradient } = carried(run, part);
  const factor = factors(run, part);
  const way = wayOf(run, part);
  const { origin, reach, room } = way;
  const whole = reach === room;
  const back = whole ? room : reach + 1; // up to the step where it is gone
  const sign = way.reverse ? 1 : -1;
  const end = origin + sign * back;
  let logs = 0;
  let count = 0;
  const least = { step: origin, through: Infinity };
  for (let t = origin; t !== end; t += sign) {
    let [kept, all] = [0, 0];
    for (let i = t * H; i < (t + 1) * H; i++) {
      const g = gradient[i]! ** 2;
      all += g;
      kept += g * factor[i]! ** 2;
    }
    if (!(all > 0)) continue;
    const through = Math.sqrt(kept / all);
    logs += Math.log(Math.max(through, 1e-30));
    count += 1;
    if (through < least.through) Object.assign(least, { step: t, through });
  }
  const largest = sizes.reduce((most, value) => Math.max(most, value), 0);
  const gate = cell.gates.find(({ name }) => name === (cell.enters ?? cell.keeps));
  const [first, last] = way.reverse ? [origin, end] : [end, origin];
  const mean = gate ? meanOfGate(tape.slots, gate.slot, kernel.slots, H, first, last) : NaN;
  return {
    run,
    way,
    whole,
    left: largest > 0 ? sizes[end]! / largest : NaN,
    pace: (sizes[end]! / sizes[origin]!) ** (1 / Math.max(1, back)),
    through: count > 0 ? Math.exp(logs / count) : NaN,
    least,
    entering: cell.enters === null ? 1 - mean : mean,
  };
}

function meanOfGate(values: Float32Array, slot: number, slots: number, H: number, first: number, last: number): number {
  let sum = 0;
  for (let t = first; t <= last; t++) {
    const from = (t * slots + slot) * H;
    for (let unit = 0; unit < H; unit++) sum += values[from + unit]!;
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

/** From where on something counts, as the reader can set it. */
export interface Thresholds {
  /** A gradient has vanished below this share of the largest, and has exploded above this multiple of that at the loss. */
  vanished: number;
  exploded: number;
  /** A gate is saturated if at least HALF of its units are at an end of their range, for so many steps. */
  long: number;
}

/** What the reader can set, the defaults first. */
export const CHOICES: { [Name in keyof Thresholds]: number[] } = {
  vanished: [1e-4, 1e-2, 1e-6, 1e-8],
  exploded: [100, 10, 1e3, 1e4],
  long: [10, 5, 25, 100],
};

/** A value is at an end of its range within EDGE. */
const [EDGE, HALF] = [0.01, 0.5];

/** The steps at which something goes wrong, in the order of the kinds above. */
export function breakpoints(run: Shown, part: number, limits: Thresholds): Breakpoint[] {
  const { sizes } = carried(run, part);
  const tape = run.forward.tape.parts[part]!;
  const { H, P, cell: kernel } = run.model.network;
  const { cell } = run.model.description;
  const { reverse, origin } = wayOf(run, part);
  const { T } = run.forward;
  const found: Breakpoint[] = [];
  const steps = Array.from({ length: T }, (_, s) => (reverse ? T - 1 - s : s)); // as the network goes through them
  const wrong = steps.find((t) => !tape.h.subarray(t * P, (t + 1) * P).every(Number.isFinite));
  if (wrong !== undefined) found.push({ step: wrong, kind: "not finite", value: NaN });
  const largest = sizes.reduce((most, value) => Math.max(most, value), 0);
  const peak = sizes.indexOf(largest);
  if (sizes[origin]! > 0 && largest >= limits.exploded * sizes[origin]!) {
    found.push({ step: peak, kind: "explodes", value: largest / sizes[origin]! });
  }
  const first = steps.findIndex((t) => sizes[t]! >= limits.vanished * largest);
  if (largest > 0 && first > 0) found.push({ step: steps[first - 1]!, kind: "vanishes", value: limits.vanished });
  const saturated = (what: string, low: number, at: (t: number, unit: number) => number): void => {
    const { start, length } = longestStretch(T, (t) => shareAtEnds(at, t, H, low) >= HALF);
    if (length >= limits.long) found.push({ step: start, kind: "saturated", value: length, what });
  };
  for (const { words, slot, curve } of cell.gates) {
    const low = lowerEnd(curve);
    if (low !== null) saturated(words, low, (t, unit) => tape.slots[(t * kernel.slots + slot) * H + unit]!);
  }
  const low = lowerEnd(cell.curve);
  if (cell.gates.length === 0 && low !== null) saturated("hidden state", low, (t, unit) => tape.h[t * H + unit]!);
  return found;
}

/** The lower end of the range of a nonlinearity whose upper end is 1; null for one without two ends. */
export function lowerEnd(curve: string | null): number | null {
  if (curve === "sigmoid" || curve === "hardsigmoid") return 0;
  return curve === "tanh" || curve === "softsign" ? -1 : null;
}

/** The share of the units whose value is within EDGE of an end of the nonlinearity's range. */
function shareAtEnds(at: (t: number, unit: number) => number, t: number, H: number, low: number): number {
  let count = 0;
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
