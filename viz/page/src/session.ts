/**
 * What the page shows now: one sequence, all runs on it, and the element whose loss is looked at.
 *
 * Element j of the sequence is predicted from the steps before it, so that its loss is the loss of step j − 1. Where each
 * step or the sequence has a label, element j is looked at by the label after it, and a network without a loss by the sum
 * of its outputs at step j itself.
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
  /** (T,): the loss of each element, see `Model.losses`. */
  losses: Float64Array;
  /** The step after which the output is read, and the label whose loss is looked at; −1: there is none. */
  step: number;
  label: number;
  /** (T,): ‖∂L/∂x_t‖, how much the loss looked at depends on each element. */
  dependence: Float64Array;
  /** For each layer and direction (T,): ‖∂L/∂h_t‖, and for an LSTM ‖∂L/∂c_t‖. */
  flow: { h: Float64Array; c: Float64Array | null }[];
  ways: Way[];
  walks: (JacobianNorms | undefined)[];
}

/** How far a loss looks through one direction of a network. */
export interface Way {
  reverse: boolean;
  /** (T,): ‖∂L/∂x_t‖, through this direction of the first layer alone. */
  dependence: Float64Array;
  /** The step at which the gradient begins, and how many steps there are behind it, and are reached. */
  origin: number;
  room: number;
  reach: number;
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
  /** The label whose loss is looked at; null: the one that each network predicts. */
  label: number | null = null;
  /** The number of the example whose initial states the runs begin with. */
  example = 0;
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

  /** Whether any network has a loss of each step. */
  get hasLosses(): boolean {
    return this.page.models.some((model) => model.hasLoss && !model.ofWhole);
  }

  /** Whether another element can be looked at: not if all networks have one output for the whole sequence. */
  get movable(): boolean {
    return this.page.models.some((model) => !model.ofWhole);
  }

  /** The element whose loss is looked at. */
  get target(): number {
    return this.targetOf(this.T);
  }

  private targetOf(T: number): number {
    return Math.max(0, Math.min(this.pinned ?? T - 1, T - 1));
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
    for (const [index, model] of this.page.models.entries()) {
      const forward = model.forward(input.sequence, this.page.initialOf(index, this.example));
      runs.push(this.looked(model, forward));
      await breathe();
      if (turn !== this.turn) return false;
    }
    this.input = input; // together: what is drawn meanwhile is the sequence before
    this.runs = runs;
    this.took = performance.now() - start;
    return true;
  }

  /** Looks at another element, of the passes that there are; null: at the last one. */
  look(element: number | null): void {
    this.pinned = element;
    this.again();
  }

  /** Looks at the loss of another label; null: of the one that each network predicts. */
  choose(label: number | null): void {
    this.label = label;
    this.again();
  }

  private again(): void {
    this.runs = this.runs.map((run) => this.looked(run.model, run.forward));
  }

  /** Marks a step, or removes the same mark. */
  mark(step: number, on: boolean): void {
    if (this.marks.get(step) === on) this.marks.delete(step);
    else if (step < this.T) this.marks.set(step, on);
  }

  private looked(model: Model, forward: Forward): Shown {
    const { T } = forward;
    const { network } = model;
    const step = model.lossStep(this.targetOf(T), T);
    const { gradients } = model.backward(forward, step, this.label);
    return {
      model,
      forward,
      gradients,
      losses: model.losses(forward, step, this.label),
      step,
      label: model.predictsLabel && T > 0 ? model.labelAt(forward, step, this.label) : -1,
      dependence: rowNorms(gradients.input, network.I),
      flow: gradients.parts.map(({ h, c }) => ({ h: rowNorms(h, network.P), c: c && rowNorms(c, network.H) })),
      ways: model.origins(step, T).map((origin, direction) => {
        return wayOf(rowNorms(gradients.through[direction]!, network.I), origin, direction === 1, T);
      }),
      walks: [],
    };
  }

  /** One lag further for the run that is behind, in this direction if it has it; false when all are done. */
  advanceJacobians(direction: number): boolean {
    let behind: JacobianNorms | null = null;
    for (const run of this.runs) {
      const walk = walkOf(run, direction);
      if (!walk.done && (!behind || walk.lag < behind.lag)) behind = walk;
    }
    behind?.advance();
    return behind !== null;
  }
}

function wayOf(dependence: Float64Array, origin: number, reverse: boolean, T: number): Way {
  const largest = dependence.reduce((most, value) => Math.max(most, value), 0);
  let furthest = origin;
  dependence.forEach((value, t) => {
    if (value > 0 && value >= REACH * largest && (reverse ? t > furthest : t < furthest)) furthest = t;
  });
  const room = reverse ? Math.max(0, T - 1 - origin) : origin;
  return { reverse, dependence, origin, room, reach: Math.abs(furthest - origin) };
}

/** The walk of a run from the step where the gradient begins, in a direction if the run has it. */
function walkOf(run: Shown, direction: number): JacobianNorms {
  const chosen = Math.min(direction, run.model.network.directions - 1);
  const { origin } = run.ways[chosen]!;
  const from = Math.min(origin, run.forward.T - 1);
  return (run.walks[chosen] ??= new JacobianNorms(run.model.network, run.forward.tape, chosen, from));
}

/** Lets the page take what happened meanwhile. */
function breathe(): Promise<void> {
  return new Promise((resume) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => resume();
    channel.port2.postMessage(null);
  });
}
