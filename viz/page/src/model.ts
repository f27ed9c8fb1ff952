/** One run of the page: a network with what its numbers mean, its losses, and the gradients of a loss. */
import type { Gradients, Network, Tape } from "./engine/network";
import type { RunDescription } from "./payload";

/** The loss that is looked at: that of one step, or the mean over all steps that have a target. */
export type LossAt = number | "mean";

/** A sequence, as the networks read it: tokens, or T rows of numbers. */
export type Sequence = { tokens: number[] } | { rows: Float32Array };

/** One forward pass. */
export interface Forward {
  T: number;
  tape: Tape;
  sequence: Sequence;
  /**
   * (R, O): the output after each step, R = T, or that of the whole sequence alone, R = 1; null for a layer.
   * Of symbols and labels also the probabilities, and the logarithms (R,) of the sums that they were divided by.
   */
  output: Float32Array | null;
  probabilities: Float64Array | null;
  logSums: Float64Array | null;
}

export interface Backward {
  gradients: Gradients;
  /** The gradient (T, directions · P) of the last layer's output, of this loss alone: what BPTT starts from. */
  gradOutput: Float32Array;
}

export class Model {
  constructor(
    readonly description: RunDescription,
    readonly network: Network,
  ) {}

  get name(): string {
    return this.description.name;
  }

  /** Whether there are losses; otherwise the sum of an output is looked at in their place. */
  get hasLoss(): boolean {
    return this.description.predicts !== null;
  }

  /** Whether the output of a step predicts the element that comes next. */
  get predictsNext(): boolean {
    return this.description.predicts === "symbol" || this.description.predicts === "row";
  }

  get predictsLabel(): boolean {
    return this.description.predicts === "label";
  }

  /** Whether it has one output for the whole sequence; a part of the sequence would need another pass. */
  get ofWhole(): boolean {
    return this.description.readout !== "steps" && this.network.directions === 2;
  }

  /** The step after which the output is read that is looked at with an element of T. */
  lossStep(element: number, T: number): number {
    if (this.ofWhole) return Math.max(0, T - 1);
    return Math.max(0, this.predictsNext ? element - 1 : element);
  }

  /** For each direction the step at which the gradient of a loss begins, on its way back through this direction. */
  origins(step: number, T: number): number[] {
    if (this.network.directions === 1) return [step];
    return this.ofWhole ? [Math.max(0, T - 1), 0] : [step, step];
  }

  // ------------------------------------------------------------ forward

  forward(sequence: Sequence, initial: Float32Array | null): Forward {
    const x = "tokens" in sequence ? this.network.embed(sequence.tokens) : sequence.rows;
    const tape = this.network.forward(x, initial);
    const { head, predicts } = this.description;
    const output = head && this.network.head(this.read(tape, initial));
    const counts = predicts === "symbol" || predicts === "label";
    const { probabilities, logSums } = counts ? softmax(output!, head!.outputs) : { probabilities: null, logSums: null };
    return { T: tape.T, tape, sequence, output, probabilities, logSums };
  }

  /** What the head reads: rows (R, directions · P). */
  private read({ T, parts, features }: Tape, initial: Float32Array | null): Float32Array {
    const { features: F, directions, P } = this.network;
    const { readout } = this.description;
    if (readout === "steps" || (readout === "last" && T > 0 && !this.ofWhole)) return features;
    if (readout === "last") {
      const end = (parts.length - directions) * P; // of the initial state, where the last layer begins
      if (T === 0) return initial ? initial.slice(end, end + F) : new Float32Array(F);
      const read = features.slice((T - 1) * F);
      read.set(features.subarray(P, F), P); // the reverse direction ends at the first step
      return read;
    }
    if (T === 0) return new Float32Array(F);
    const means = runningMeans(features, F);
    return this.ofWhole ? means.slice((T - 1) * F) : means;
  }

  /** Which row of the output is that after a step. */
  private rowOf(step: number): number {
    return this.ofWhole ? 0 : step;
  }

  /** The output, or the probabilities, after a step. */
  private rowAt<Numbers extends Float32Array | Float64Array>(values: Numbers, step: number): Numbers {
    const O = this.description.head!.outputs;
    const row = this.rowOf(step) * O;
    return values.subarray(row, row + O) as Numbers;
  }

  /** The probabilities after a step; null of a network without any. */
  probabilitiesAt(forward: Forward, step: number): Float64Array | null {
    return forward.probabilities && this.rowAt(forward.probabilities, step);
  }

  /** The label whose loss is looked at: the one that the reader chose, or the one that the network gives most to. */
  labelAt(forward: Forward, step: number, chosen: number | null): number {
    const shares = this.probabilitiesAt(forward, step)!;
    return chosen ?? Math.max(0, shares.indexOf(largestOf(shares))); // not found: they are not finite
  }

  // ------------------------------------------------------------ losses

  /**
   * (T,): the loss that is known after reading up to the element before it, or of a label up to the element itself; NaN
   * where there is none. Of sequences with a label it is the one that is looked at after `step`.
   */
  losses(forward: Forward, step: number, chosen: number | null): Float64Array {
    const { T, output, sequence } = forward;
    const losses = new Float64Array(T).fill(NaN);
    if (this.ofWhole || !this.hasLoss) return losses;
    const O = this.description.head!.outputs;
    if (this.predictsLabel) {
      const ofAll = this.description.readout === "steps" ? null : this.labelAt(forward, step, chosen);
      return losses.map((_, t) => this.negativeLog(forward, t, ofAll ?? this.labelAt(forward, t, chosen)));
    }
    for (let t = 0; t + 1 < T; t++) {
      if ("tokens" in sequence) {
        losses[t + 1] = this.negativeLog(forward, t, sequence.tokens[t + 1]!);
      } else {
        let sum = 0;
        for (let i = 0; i < O; i++) sum += (output![t * O + i]! - sequence.rows[(t + 1) * O + i]!) ** 2;
        losses[t + 1] = sum / O;
      }
    }
    return losses;
  }

  /** −ln of the probability of a symbol or a label after a step, in nats. */
  private negativeLog({ output, logSums }: Forward, step: number, target: number): number {
    return logSums![this.rowOf(step)]! - this.rowAt(output!, step)[target]!;
  }

  /**
   * The mean loss of the steps that have one; 0 if none has. Of a label it is the loss at the end, and of a network without
   * a loss the sum that is looked at there.
   */
  meanLoss(forward: Forward, chosen: number | null): number {
    const { T, tape, output } = forward;
    const last = Math.max(0, T - 1);
    if (this.predictsNext) {
      const losses = this.losses(forward, last, null).subarray(1);
      return T > 1 ? losses.reduce((sum, loss) => sum + loss, 0) / (T - 1) : 0;
    }
    if (output ? output.length === 0 : T === 0) return 0;
    if (this.predictsLabel) return this.negativeLog(forward, last, this.labelAt(forward, last, chosen));
    const { features: F } = this.network;
    const row = output ? this.rowAt(output, last) : tape.features.subarray(last * F);
    return row.reduce((sum, value) => sum + value, 0);
  }

  // ------------------------------------------------------------ backward

  backward(forward: Forward, at: LossAt, chosen: number | null): Backward {
    const gradOutput = this.predictsNext
      ? this.network.headAdjoint(this.gradOfNext(forward, at))
      : this.gradOfFeatures(forward, at === "mean" ? forward.T - 1 : at, chosen);
    return { gradients: this.network.backward(forward.tape, gradOutput), gradOutput };
  }

  /** The gradient (T, O) of the output, of the loss of one step or of the mean of all. */
  private gradOfNext({ T, output, probabilities, sequence }: Forward, at: LossAt): Float32Array {
    const O = this.description.head!.outputs;
    const grad = new Float32Array(T * O);
    const [first, last] = at === "mean" ? [0, T - 1] : [at, Math.min(at + 1, T - 1)];
    const share = Math.fround(1 / Math.max(1, last - first));
    for (let t = first; t < last; t++) {
      for (let i = t * O; i < (t + 1) * O; i++) {
        if (probabilities && "tokens" in sequence) {
          const expected = i - t * O === sequence.tokens[t + 1] ? 1 : 0;
          grad[i] = Math.fround(probabilities[i]! - expected) * share;
        } else if ("rows" in sequence) {
          grad[i] = ((2 * share) / O) * (output![i]! - sequence.rows[i + O]!);
        }
      }
    }
    return grad;
  }

  /** The gradient (T, directions · P) of the last layer's output, of the loss of a label or the sum of an output. */
  private gradOfFeatures(forward: Forward, step: number, chosen: number | null): Float32Array {
    const { T } = forward;
    const { features: F, P } = this.network;
    const { head, readout } = this.description;
    const grad = new Float32Array(T * F);
    if (T === 0) return grad;
    let read: Float32Array = new Float32Array(F).fill(1);
    if (head) {
      const label = this.predictsLabel ? this.labelAt(forward, step, chosen) : -1;
      const shares = this.predictsLabel ? this.probabilitiesAt(forward, step)! : new Float64Array(head.outputs).fill(1);
      read = this.network.headAdjoint(Float32Array.from(shares, (share, i) => share - Number(i === label)));
    }
    if (readout === "mean") {
      const count = this.ofWhole ? T : step + 1;
      const share = Math.fround(1 / count);
      for (let i = 0; i < count * F; i++) grad[i] = read[i % F]! * share;
    } else if (this.ofWhole) {
      grad.set(read.subarray(0, P), (T - 1) * F);
      grad.set(read.subarray(P), P);
    } else grad.set(read, step * F);
    return grad;
  }
}

/** The means (T, F) of the rows up to each step, added up in float32 as numpy does. */
function runningMeans(rows: Float32Array, F: number): Float32Array {
  const sums = new Float32Array(F);
  return rows.map((value, i) => {
    sums[i % F]! += value;
    return sums[i % F]! * Math.fround(1 / (Math.floor(i / F) + 1));
  });
}

function softmax(logits: Float32Array, O: number): { probabilities: Float64Array; logSums: Float64Array } {
  const probabilities = new Float64Array(logits.length);
  const logSums = new Float64Array(logits.length / O);
  for (let start = 0; start < logits.length; start += O) {
    const largest = largestOf(logits.subarray(start, start + O));
    let total = 0;
    for (let i = start; i < start + O; i++) total += probabilities[i] = Math.exp(logits[i]! - largest);
    for (let i = start; i < start + O; i++) probabilities[i]! /= total;
    logSums[start / O] = Math.log(total) + largest;
  }
  return { probabilities, logSums };
}

function largestOf(values: Float32Array | Float64Array): number {
  let largest = -Infinity;
  for (const value of values) largest = Math.max(largest, value);
  return largest;
}

/** The norm of each row (T, width), in double precision. */
export function rowNorms(values: Float32Array, width: number): Float64Array {
  const norms = new Float64Array(values.length / width);
  for (let t = 0; t < norms.length; t++) {
    let sum = 0;
    for (let i = t * width; i < (t + 1) * width; i++) sum += values[i]! ** 2;
    norms[t] = Math.sqrt(sum);
  }
  return norms;
}
