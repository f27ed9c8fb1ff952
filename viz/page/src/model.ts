/** One run of the page: a network with what its numbers mean, its losses, and the gradients of a loss. */
import type { Gradients, Network, Tape } from "./engine/network";
import type { RunDescription } from "./payload";

/** The loss that is looked at: that of one step, or the mean over all steps that have a target. */
export type LossAt = number | "mean";

/** A sequence, as the networks read it: tokens, or T rows of numbers. */
export type Sequence = { tokens: number[] } | { rows: Float32Array };

/** One forward pass, with the loss of each step. */
export interface Forward {
  T: number;
  tape: Tape;
  /** (T, O): the probability of each next symbol; null without symbols. */
  probabilities: Float64Array | null;
  /** (T,): the loss of each step, NaN where the next element is not known. */
  losses: Float64Array;
  sequence: Sequence;
}

export interface Backward {
  gradients: Gradients;
  /** ∂L/∂h (T, H) at the last layer, of this loss alone: what BPTT starts from. */
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

  /** Whether steps have losses; otherwise the sum of a step's outputs is looked at in their place. */
  get hasLoss(): boolean {
    return this.description.predicts !== null;
  }

  forward(sequence: Sequence): Forward {
    const x = "tokens" in sequence ? this.network.embed(sequence.tokens) : sequence.rows;
    const tape = this.network.forward(x);
    const { T, output } = tape;
    const losses = new Float64Array(T).fill(NaN);
    const O = T > 0 && output ? output.length / T : 0;
    const symbols = this.description.predicts === "symbol" && "tokens" in sequence;
    const probabilities = symbols && output ? softmax(output, O) : null;
    for (let t = 0; t + 1 < T && this.hasLoss; t++) {
      if (probabilities && "tokens" in sequence) {
        losses[t] = negativeLog(output!.subarray(t * O, (t + 1) * O), sequence.tokens[t + 1]!);
      } else if ("rows" in sequence) {
        let sum = 0;
        for (let i = 0; i < O; i++) sum += (output![t * O + i]! - sequence.rows[(t + 1) * O + i]!) ** 2;
        losses[t] = sum / O;
      }
    }
    return { T, tape, probabilities, losses, sequence };
  }

  /** The mean loss of the steps that have one; 0 if none has. For a network without a loss, the sum looked at. */
  meanLoss(forward: Forward): number {
    const { T, tape, losses } = forward;
    if (!this.hasLoss) {
      const output = tape.output ?? tape.layers.at(-1)!.h.subarray(this.network.H);
      const width = T > 0 ? output.length / T : 0;
      return output.subarray((T - 1) * width).reduce((sum, value) => sum + value, 0);
    }
    return T > 1 ? losses.subarray(0, T - 1).reduce((sum, loss) => sum + loss, 0) / (T - 1) : 0;
  }

  backward(forward: Forward, at: LossAt): Backward {
    const { network } = this;
    const { T, tape } = forward;
    let gradOutput: Float32Array;
    if (tape.output) {
      gradOutput = network.headAdjoint(this.gradOfOutput(forward, at));
    } else {
      gradOutput = new Float32Array(T * network.H);
      const step = at === "mean" ? T - 1 : at;
      gradOutput.fill(1, Math.max(0, step) * network.H, (step + 1) * network.H);
    }
    return { gradients: network.backward(tape, gradOutput), gradOutput };
  }

  /** ∂L/∂output (T, O). */
  private gradOfOutput(forward: Forward, at: LossAt): Float32Array {
    const { T, tape, probabilities, sequence } = forward;
    const output = tape.output!;
    const O = T > 0 ? output.length / T : 0;
    const grad = new Float32Array(T * O);
    if (!this.hasLoss) {
      const step = at === "mean" ? T - 1 : at;
      grad.fill(1, Math.max(0, step) * O, (step + 1) * O);
      return grad;
    }
    const [first, last] = at === "mean" ? [0, T - 1] : [at, Math.min(at + 1, T - 1)];
    const share = Math.fround(1 / Math.max(1, last - first));
    for (let t = first; t < last; t++) {
      for (let i = t * O; i < (t + 1) * O; i++) {
        if (probabilities && "tokens" in sequence) {
          const expected = i - t * O === sequence.tokens[t + 1] ? 1 : 0;
          grad[i] = Math.fround(probabilities[i]! - expected) * share;
        } else if ("rows" in sequence) {
          grad[i] = ((2 * share) / O) * (output[i]! - sequence.rows[i + O]!);
        }
      }
    }
    return grad;
  }
}

function softmax(logits: Float32Array, O: number): Float64Array {
  const out = new Float64Array(logits.length);
  for (let start = 0; start < logits.length; start += O) {
    const largest = largestOf(logits.subarray(start, start + O));
    let total = 0;
    for (let i = start; i < start + O; i++) total += out[i] = Math.exp(logits[i]! - largest);
    for (let i = start; i < start + O; i++) out[i]! /= total;
  }
  return out;
}

/** −log softmax(logits)[target], in nats. */
function negativeLog(logits: Float32Array, target: number): number {
  const largest = largestOf(logits);
  let total = 0;
  for (const value of logits) total += Math.exp(value - largest);
  return Math.log(total) + largest - logits[target]!;
}

function largestOf(values: Float32Array): number {
  return values.reduce((largest, value) => Math.max(largest, value), -Infinity);
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
