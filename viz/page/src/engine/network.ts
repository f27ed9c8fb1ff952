/**
 * One network: forward through time, and back-propagation through time, one step after the other.
 *
 * B is 1. A network is a stack of layers, and a layer has a part for each direction. A tape holds what the engine's tape
 * holds, as arrays of JavaScript: a pass copies what it needs into the kernels' memory, and out of it again.
 */
import { type CellKernel, type Kernels, after } from "./kernels";

export interface PartWeights {
  w_ih: Float32Array;
  w_hh: Float32Array;
  b_ih: Float32Array | null;
  b_hh: Float32Array | null;
  /** Of a projection, and of peepholes. */
  w_hr: Float32Array | null;
  peepholes: Float32Array | null;
}

export interface Weights {
  cell: string;
  inputSize: number;
  hiddenSize: number;
  /** The width of h: hiddenSize, unless a projection makes it narrower. */
  outputSize: number;
  directions: number;
  /** The lowest layer comes first, and in each layer the forward direction. */
  parts: PartWeights[];
  /** For each direction what makes the cell a variant, as layer_vary takes it; null: the cell is none. */
  variant: number[][] | null;
  /** (V, I): the input of token k is row k. */
  embedding: Float32Array | null;
  /** The product of what is read of the last layer with this gives the output. */
  head: { weight: Float32Array; bias: Float32Array | null; outputs: number } | null;
}

/** What one part recorded, by input time also in the reverse direction. */
export interface PartTape {
  reverse: boolean;
  /** (T, slots, H): the gates. */
  slots: Float32Array;
  /** (T, P): h after each step, and the h from which the step was computed. */
  h: Float32Array;
  hBefore: Float32Array;
  /** (T, H): the same of an LSTM's c. */
  c: Float32Array | null;
  cBefore: Float32Array | null;
}

export interface Tape {
  T: number;
  parts: PartTape[];
  /** (T, directions · P): the output of the last layer. */
  features: Float32Array;
}

export interface PartGradients {
  /** (T, slots, H): of the pre-activations. */
  delta: Float32Array;
  /** (T, P) and (T, H): ∂L/∂h and ∂L/∂c. */
  h: Float32Array;
  c: Float32Array | null;
}

export interface Gradients {
  parts: PartGradients[];
  /** (T, I): of the first layer's input, and what of it comes through each direction of that layer. */
  input: Float32Array;
  through: Float32Array[];
}

/** A part's packed weights. */
interface Part {
  at: number;
  I: number;
  reverse: boolean;
}

export class Network {
  readonly cell: CellKernel;
  /** Units, inputs, and the width of h. */
  readonly H: number;
  readonly I: number;
  readonly P: number;
  readonly directions: number;
  private readonly parts: Part[];
  private readonly packedHead: { at: number; bias: number; outputs: number } | null;

  constructor(
    private readonly kernels: Kernels,
    private readonly weights: Weights,
  ) {
    const cell = kernels.cells.get(weights.cell);
    if (!cell) throw new Error(`cell: got ${weights.cell}, expected one of ${[...kernels.cells.keys()].join(", ")}`);
    this.cell = cell;
    this.H = weights.hiddenSize;
    this.I = weights.inputSize;
    this.P = weights.outputSize;
    this.directions = weights.directions;
    this.parts = weights.parts.map((part, place) => this.pack(part, place));
    this.packedHead = weights.head && this.packHead(weights.head);
  }

  get layerCount(): number {
    return this.parts.length / this.directions;
  }

  /** The widths of the states. */
  get stateSizes(): number[] {
    return this.cell.states === 2 ? [this.P, this.H] : [this.P];
  }

  /** Numbers of a step that one direction carries to the next: h of all layers, and an LSTM's c. */
  get carrySize(): number {
    return this.layerCount * this.stateSizes.reduce((sum, size) => sum + size, 0);
  }

  /** The width of the output of a layer. */
  get features(): number {
    return this.directions * this.P;
  }

  private pack(weights: PartWeights, place: number): Part {
    const { kernels, H, P } = this;
    const { call } = kernels;
    const I = place < this.directions ? this.I : this.features;
    const reverse = place % this.directions === 1;
    const variant = this.weights.variant?.[reverse ? 1 : 0];
    const at = kernels.take(call.layer_bytes(this.cell.index, I, H, P));
    const put = (values: Float32Array | null): number => (values ? kernels.put(values) : 0);
    kernels.scratch(() => {
      const [w_ih, w_hh, w_hr] = [put(weights.w_ih), put(weights.w_hh), put(weights.w_hr)];
      const [b_ih, b_hh, peepholes] = [put(weights.b_ih), put(weights.b_hh), put(weights.peepholes)];
      call.layer_pack(at, this.cell.index, I, H, P, w_ih, w_hh, b_ih, b_hh, w_hr);
      if (variant) call.layer_vary(at, put(Float32Array.from(variant)), peepholes);
    });
    return { at, I, reverse };
  }

  private packHead(head: NonNullable<Weights["head"]>): NonNullable<Network["packedHead"]> {
    const { call } = this.kernels;
    const at = this.kernels.take(call.matrix_bytes(head.outputs, this.features));
    const bias = head.bias ? this.kernels.put(head.bias) : 0;
    this.kernels.scratch(() => call.matrix_pack(at, head.outputs, this.features, this.kernels.put(head.weight)));
    return { at, bias, outputs: head.outputs };
  }

  /** The input (T, I) of tokens. */
  embed(tokens: ArrayLike<number>): Float32Array {
    const table = this.weights.embedding;
    if (!table) throw new Error("This network reads rows of numbers, not symbols.");
    const x = new Float32Array(tokens.length * this.I);
    for (let t = 0; t < tokens.length; t++) {
      const row = tokens[t]! * this.I;
      x.set(table.subarray(row, row + this.I), t * this.I);
    }
    return x;
  }

  /** Of a variant: the slopes of its first activation in a part, where its values are these. */
  slopes(place: number, values: Float32Array): Float32Array {
    const { kernels } = this;
    return kernels.scratch(() => {
      const y = kernels.put(values);
      const found = kernels.zeros(values.length);
      kernels.call.layer_slopes(this.parts[place]!.at, values.length, y, found);
      return kernels.copy(found, values.length);
    });
  }

  // ------------------------------------------------------------ forward

  /**
   * Forward through the whole sequence x (T, I). The initial state has h (parts, P), and after it c (parts, H) of an
   * LSTM; null: it is zero.
   */
  forward(x: Float32Array, initial: Float32Array | null): Tape {
    const { kernels, directions } = this;
    const T = x.length / this.I;
    return kernels.scratch(() => {
      const parts: PartTape[] = [];
      let features = x;
      for (let first = 0; first < this.parts.length; first += directions) {
        const input = kernels.put(features);
        for (let place = first; place < first + directions; place++) {
          parts.push(this.forwardPart(place, input, T, initial));
        }
        features = sideBySide(parts.slice(first), this.P);
      }
      return { T, parts, features };
    });
  }

  private forwardPart(place: number, x: number, T: number, initial: Float32Array | null): PartTape {
    const { kernels, H, P, cell } = this;
    const { at, reverse } = this.parts[place]!;
    const slots = kernels.zeros(T * cell.slots * H);
    const h = kernels.zeros((T + 1) * P); // by time, with the initial state where the pass begins
    const c = cell.states === 2 ? kernels.zeros((T + 1) * H) : 0;
    const carried = kernels.zeros(2 * H);
    if (initial) {
      const begin = reverse ? T : 0;
      const cells = this.parts.length * P + place * H;
      kernels.view(after(h, begin * P), P).set(initial.subarray(place * P, (place + 1) * P));
      if (c) for (const to of [after(c, begin * H), carried]) kernels.view(to, H).set(initial.subarray(cells, cells + H));
    }
    if (T > 0) kernels.call.project(at, T, x, slots);
    for (let s = 0; s < T; s++) {
      const t = reverse ? T - 1 - s : s;
      const [before, now] = reverse ? [t + 1, t] : [t, t + 1];
      const atStep = after(slots, t * cell.slots * H);
      kernels.call.forward_step(at, atStep, after(h, before * P), after(h, now * P), c && after(c, now * H), carried);
    }
    const both = (states: number, width: number): [now: Float32Array, before: Float32Array] => {
      const all = kernels.copy(states, (T + 1) * width);
      const [early, late] = [all.subarray(0, T * width), all.subarray(width)];
      return reverse ? [early, late] : [late, early];
    };
    const [hNow, hBefore] = both(h, P);
    const [cNow, cBefore] = c ? both(c, H) : [null, null];
    return { reverse, slots: kernels.copy(slots, T * cell.slots * H), h: hNow, hBefore, c: cNow, cBefore };
  }

  /** The output (R, O) for rows (R, directions · P) of what is read of the last layer. */
  head(read: Float32Array): Float32Array {
    const { kernels } = this;
    const { at, bias, outputs } = this.packedHead!;
    const rows = read.length / this.features;
    return kernels.scratch(() => {
      const y = kernels.zeros(rows * outputs);
      if (rows > 0) kernels.call.matrix_times(at, rows, kernels.put(read), bias, y);
      return kernels.copy(y, rows * outputs);
    });
  }

  // ------------------------------------------------------------ backward

  /** The gradient of what the head read, from ∂L/∂output (R, O). */
  headAdjoint(gradOutput: Float32Array): Float32Array {
    const { kernels } = this;
    const { at, outputs } = this.packedHead!;
    const rows = gradOutput.length / outputs;
    return kernels.scratch(() => {
      const y = kernels.put(gradOutput);
      const read = kernels.zeros(rows * this.features);
      if (rows > 0) kernels.call.matrix_adjoint(at, rows, y, read);
      return kernels.copy(read, rows * this.features);
    });
  }

  /** Back through all steps, from the gradient (T, directions · P) of the output of the last layer. */
  backward(tape: Tape, gradFeatures: Float32Array): Gradients {
    const { kernels, directions } = this;
    const { T } = tape;
    return kernels.scratch(() => {
      const parts: PartGradients[] = [];
      const through: Float32Array[] = [];
      let gradOut = kernels.put(gradFeatures);
      for (let first = this.parts.length - directions; first >= 0; first -= directions) {
        const gradX = kernels.zeros(T * this.parts[first]!.I);
        const found: PartGradients[] = [];
        for (let direction = 0; direction < directions; direction++) {
          const place = first + direction;
          const { gradients, delta } = this.backwardPart(place, tape, gradOut, direction);
          found.push(gradients);
          if (T > 0) kernels.call.input_gradient(this.parts[place]!.at, T, delta, gradX, direction);
          if (first === 0 && directions === 2) through.push(this.inputGradient(place, T, delta));
        }
        parts.unshift(...found);
        gradOut = gradX;
      }
      const input = kernels.copy(gradOut, T * this.I);
      return { parts, input, through: directions === 2 ? through : [input] };
    });
  }

  /** The gradient of a part's input (rows, I), without that of the other direction. */
  private inputGradient(place: number, rows: number, delta: number): Float32Array {
    const { kernels } = this;
    const { at, I } = this.parts[place]!;
    const gradX = kernels.zeros(rows * I);
    if (rows > 0) kernels.call.input_gradient(at, rows, delta, gradX, 0);
    return kernels.copy(gradX, rows * I);
  }

  private backwardPart(
    place: number,
    { T, parts }: Tape,
    gradOut: number,
    direction: number,
  ): { gradients: PartGradients; delta: number } {
    const { kernels, H, P, cell } = this;
    const { at, reverse } = this.parts[place]!;
    const tape = parts[place]!;
    const width = cell.slots * H;
    const slots = kernels.put(tape.slots);
    const state = kernels.put(tape.c ?? tape.h);
    const before = kernels.put(tape.cBefore ?? tape.hBefore);
    const carry = kernels.zeros(P + 2 * H);
    const delta = kernels.zeros(T * width);
    const h = kernels.zeros(T * P);
    const c = tape.c ? kernels.zeros(T * H) : 0;
    for (let s = 0; s < T; s++) {
      const t = reverse ? s : T - 1 - s;
      kernels.call.backward_step(
        at,
        1,
        after(slots, t * width),
        after(before, t * H),
        after(state, t * H),
        after(gradOut, t * this.features + direction * P),
        carry,
        after(delta, t * width),
        after(h, t * P),
        c && after(c, t * H),
      );
    }
    const gradients = {
      delta: kernels.copy(delta, T * width),
      h: kernels.copy(h, T * P),
      c: c ? kernels.copy(c, T * H) : null,
    };
    return { gradients, delta };
  }

  /** Numbers of a layer's cotangents that `pullBack` takes: of h, of c, and scratch, for K of them. */
  carriesOfLayer(K: number): number {
    return K * (this.P + 2 * this.H);
  }

  /**
   * Carries K cotangents one step of one direction back; the output of the other direction is held fixed. `carries` has
   * for each layer h (K, P), c (K, H) and scratch, and is overwritten.
   */
  pullBack(tape: Tape, t: number, direction: number, K: number, carries: Float32Array[]): void {
    const { kernels, H, P, cell } = this;
    const width = cell.slots * H;
    const step = (values: Float32Array, size: number): number =>
      kernels.put(values.subarray(t * size, (t + 1) * size));
    kernels.scratch(() => {
      const delta = kernels.zeros(K * width);
      let gradOut = 0;
      for (let layer = this.layerCount - 1; layer >= 0; layer--) {
        const place = layer * this.directions + direction;
        const recorded = tape.parts[place]!;
        const slots = step(recorded.slots, width);
        const before = step(recorded.cBefore ?? recorded.hBefore, H);
        const state = step(recorded.c ?? recorded.h, H);
        const carry = kernels.put(carries[layer]!);
        const { at } = this.parts[place]!;
        kernels.call.backward_step(at, K, slots, before, state, gradOut, carry, delta, 0, 0);
        carries[layer]!.set(kernels.view(carry, carries[layer]!.length));
        if (layer > 0) gradOut = kernels.put(halfOf(this.inputGradient(place, K, delta), direction, this.features, P));
      }
    });
  }
}

/** The h of all directions of a layer, (T, directions · P). */
function sideBySide(parts: PartTape[], P: number): Float32Array {
  if (parts.length === 1) return parts[0]!.h;
  const width = parts.length * P;
  const T = parts[0]!.h.length / P;
  const out = new Float32Array(T * width);
  parts.forEach(({ h }, direction) => {
    for (let t = 0; t < T; t++) out.set(h.subarray(t * P, (t + 1) * P), t * width + direction * P);
  });
  return out;
}

/** Of rows that are `width` wide, the P numbers of one direction. */
function halfOf(rows: Float32Array, direction: number, width: number, P: number): Float32Array {
  if (width === P) return rows;
  const out = new Float32Array((rows.length / width) * P);
  for (let from = direction * P, to = 0; to < out.length; from += width, to += P) {
    out.set(rows.subarray(from, from + P), to);
  }
  return out;
}
