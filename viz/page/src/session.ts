/**
 * What the page shows now: one sequence, all runs on it, and the element whose loss is looked at.
 *
 * Element j of the sequence is predicted from the steps before it, so that its loss is the loss of step j − 1. A network
 * without a loss is looked at by the sum of its outputs at step j itself.
 */
import type { Page } from "./api";
import { JacobianNorms } from "./engine/jacobian";
import type { Gradients } from "./engine/network";
import { type Forward, type Model, rowNorms, type Sequence } from "./model";

/** Elements that the page reads at most: what does not fit is said, and the networks do not read it. */
export const MOST_STEPS = 2000;
/** The share of the largest dependence from which on an element counts as remembered. */
export const REACH = 0.01;

export interface Shown {
  model: Model;
  forward: Forward;
  gradients: Gradients;
  /** (T,): ‖∂L/∂x_t‖, how much the loss looked at depends on each element. */
  dependence: Float64Array;
  /** For each layer (T,): ‖∂L/∂h_t‖, and for an LSTM ‖∂L/∂c_t‖. */
  flow: { h: Float64Array; c: Float64Array | null }[];
  /** How many steps before the loss the dependence is at least REACH of the largest. */
  reach: number;
  walk: JacobianNorms | null;
}

export interface Input {
  sequence: Sequence;
  /** What each step is called: a symbol, or nothing for rows. */
  symbols: string[] | null;
  /** For each code point of a text, its step, or −1 where the networks do not know it. */
  steps: number[];
  unknown: string[];
  omitted: number;
}

export class Session {
  input: Input;
  runs: Shown[] = [];
  /** The element looked at; null: the last one. */
  pinned: number | null = null;
  /** Steps at which a unit that is searched for is on (true) or off. */
  readonly marks = new Map<number, boolean>();
  /** Milliseconds that the last pass of all runs took. */
  took = 0;
  private turn = 0;

  constructor(readonly page: Page) {
    this.input = this.read(page.description.symbols ? "" : []);
  }

  get T(): number {
    return "tokens" in this.input.sequence
      ? this.input.sequence.tokens.length
      : this.input.sequence.rows.length / this.page.models[0]!.network.I;
  }

  /** The element whose loss is looked at. */
  get target(): number {
    return this.targetOf(this.T);
  }

  private targetOf(T: number): number {
    return Math.max(0, Math.min(this.pinned ?? T - 1, T - 1));
  }

  lossStep(model: Model, T = this.T): number {
    return model.hasLoss ? Math.max(0, this.targetOf(T) - 1) : this.targetOf(T);
  }

  /** Reads a text, leaving out what the networks do not know, or rows. */
  read(given: string | number[][]): Input {
    const { symbols } = this.page.description;
    if (typeof given !== "string") {
      const rows = given.slice(0, MOST_STEPS);
      return {
        sequence: { rows: Float32Array.from(rows.flat()) },
        symbols: null,
        steps: rows.map((_, step) => step),
        unknown: [],
        omitted: given.length - rows.length,
      };
    }
    const places = new Map((symbols ?? []).map((symbol, token) => [symbol, token]));
    const tokens: number[] = [];
    const names: string[] = [];
    const steps: number[] = [];
    const unknown = new Set<string>();
    let omitted = 0;
    for (const symbol of given) {
      const token = places.get(symbol);
      if (tokens.length === MOST_STEPS) {
        omitted += 1;
      } else if (token === undefined) {
        unknown.add(symbol);
        steps.push(-1);
      } else {
        steps.push(tokens.length);
        tokens.push(token);
        names.push(symbol);
      }
    }
    return { sequence: { tokens }, symbols: names, steps, unknown: [...unknown], omitted };
  }

  /**
   * Runs all networks; false if another call came first. Between two of them the page can take a key.
   */
  async compute(input: Input): Promise<boolean> {
    const turn = ++this.turn;
    const start = performance.now();
    const runs: Shown[] = [];
    for (const model of this.page.models) {
      const forward = model.forward(input.sequence);
      runs.push(this.looked(model, forward));
      await breathe();
      if (turn !== this.turn) return false;
    }
    this.input = input; // together: what is drawn meanwhile is the sequence before
    this.runs = runs;
    this.took = performance.now() - start;
    return true;
  }

  /** Looks at another element, of the passes that there are. */
  look(element: number | null): void {
    this.pinned = element;
    this.runs = this.runs.map((run) => this.looked(run.model, run.forward));
  }

  /** Marks a step, or removes the same mark. */
  mark(step: number, on: boolean): void {
    if (this.marks.get(step) === on) this.marks.delete(step);
    else if (step < this.T) this.marks.set(step, on);
  }

  private looked(model: Model, forward: Forward): Shown {
    const step = this.lossStep(model, forward.T);
    const { gradients } = model.backward(forward, step);
    const H = model.network.H;
    const dependence = rowNorms(gradients.input, model.network.I);
    const flow = gradients.layers.map(({ h, c }) => ({ h: rowNorms(h, H), c: c && rowNorms(c, H) }));
    const largest = dependence.reduce((most, value) => Math.max(most, value), 0);
    const first = largest > 0 ? dependence.findIndex((value) => value >= REACH * largest) : step;
    return { model, forward, gradients, dependence, flow, reach: Math.max(0, step - first), walk: null };
  }

  /** One lag further for the run that is behind; false when all are done. */
  advanceJacobians(): boolean {
    let behind: Shown | null = null;
    for (const run of this.runs) {
      run.walk ??= this.walkOf(run);
      if (!run.walk.done && (!behind || run.walk.lag < behind.walk!.lag)) behind = run;
    }
    behind?.walk?.advance();
    return behind !== null;
  }

  /** From the step of the loss, not from the end. */
  private walkOf({ model, forward }: Shown): JacobianNorms {
    return new JacobianNorms(model.network, { ...forward.tape, T: Math.min(forward.T, this.lossStep(model) + 1) });
  }
}

/** Lets the page take what happened meanwhile. */
function breathe(): Promise<void> {
  return new Promise((resume) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => resume();
    channel.port2.postMessage(null);
  });
}
