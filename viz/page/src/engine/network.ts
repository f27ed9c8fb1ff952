/**
 * One network: forward through time, and back-propagation through time, one step after the other.
 *
 * B is 1. A tape holds what the engine's tape holds, as arrays of JavaScript: a pass copies what it needs into the
 * kernels' memory, and out of it again.
 */
import { type CellKernel, type Kernels, after } from "./kernels";

export interface LayerWeights {
  w_ih: Float32Array;
  w_hh: Float32Array;
  b_ih: Float32Array | null;
  b_hh: Float32Array | null;
}

export interface Weights {
  cell: string;
  inputSize: number;
  hiddenSize: number;
  layers: LayerWeights[];
  /** (V, I): the input of token k is row k. */
  embedding: Float32Array | null;
  /** The product of the last layer's h with this gives the output. */
  head: { weight: Float32Array; bias: Float32Array | null; outputs: number } | null;
}

export interface LayerTape {
  /** (T, slots, H): the gates. */
  slots: Float32Array;
  /** (T + 1, H): row 0 is the initial state, row t + 1 the state after step t. */
  h: Float32Array;
  /** The same for an LSTM's c. */
  c: Float32Array | null;
}

export interface Tape {
  T: number;
  layers: LayerTape[];
  /** (T, O), or null for a layer without a head. */
  output: Float32Array | null;
}

export interface LayerGradients {
  /** (T, slots, H): of the pre-activations. */
  delta: Float32Array;
  /** (T, H): ∂L/∂h and ∂L/∂c. */
  h: Float32Array;
  c: Float32Array | null;
}

export interface Gradients {
  layers: LayerGradients[];
  /** (T, I): of the first layer's input. */
  input: Float32Array;
}

/** A layer's packed weights. */
interface Layer {
  at: number;
  I: number;
}

export class Network {
  readonly cell: CellKernel;
  readonly H: number;
  readonly I: number;
  private readonly layers: Layer[];
  private readonly head: { at: number; bias: number; outputs: number } | null;

  constructor(
    private readonly kernels: Kernels,
    private readonly weights: Weights,
  ) {
    const cell = kernels.cells.get(weights.cell);
    if (!cell) throw new Error(`cell: got ${weights.cell}, expected one of ${[...kernels.cells.keys()].join(", ")}`);
    this.cell = cell;
    this.H = weights.hiddenSize;
    this.I = weights.inputSize;
    this.layers = weights.layers.map((layer, index) => this.pack(layer, index === 0 ? this.I : this.H));
    this.head = weights.head && this.packHead(weights.head);
  }

  /** Numbers of a step that are carried to the next: h of all layers, and an LSTM's c. */
  get carrySize(): number {
    return this.cell.states * this.layers.length * this.H;
  }

  get layerCount(): number {
    return this.layers.length;
  }

  private pack(layer: LayerWeights, I: number): Layer {
    const { call } = this.kernels;
    const at = this.kernels.take(call.layer_bytes(this.cell.index, I, this.H));
    this.kernels.scratch(() => {
      const [w_ih, w_hh] = [this.kernels.put(layer.w_ih), this.kernels.put(layer.w_hh)];
      const b_ih = layer.b_ih ? this.kernels.put(layer.b_ih) : 0;
      const b_hh = layer.b_hh ? this.kernels.put(layer.b_hh) : 0;
      call.layer_pack(at, this.cell.index, I, this.H, w_ih, w_hh, b_ih, b_hh);
    });
    return { at, I };
  }

  private packHead(head: NonNullable<Weights["head"]>): NonNullable<Network["head"]> {
    const { call } = this.kernels;
    const at = this.kernels.take(call.matrix_bytes(head.outputs, this.H));
    const bias = head.bias ? this.kernels.put(head.bias) : 0;
    this.kernels.scratch(() => call.matrix_pack(at, head.outputs, this.H, this.kernels.put(head.weight)));
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

  /** Forward through the whole sequence x (T, I), from a state of zeros. */
  forward(x: Float32Array): Tape {
    const { kernels, H } = this;
    const T = x.length / this.I;
    return kernels.scratch(() => {
      const layers: LayerTape[] = [];
      let input = kernels.put(x);
      for (const layer of this.layers) {
        const { tape, h } = this.forwardLayer(layer, input, T);
        layers.push(tape);
        input = after(h, H);
      }
      return { T, layers, output: this.head && this.applyHead(input, T) };
    });
  }

  private forwardLayer(layer: Layer, x: number, T: number): { tape: LayerTape; h: number } {
    const { kernels, H, cell } = this;
    const slots = kernels.zeros(T * cell.slots * H);
    const h = kernels.zeros((T + 1) * H);
    const c = cell.states === 2 ? kernels.zeros((T + 1) * H) : 0;
    const carried = kernels.zeros(2 * H);
    if (T > 0) kernels.call.project(layer.at, T, x, slots);
    for (let t = 0; t < T; t++) {
      const atStep = after(slots, t * cell.slots * H);
      const cAfter = c && after(c, (t + 1) * H);
      kernels.call.forward_step(layer.at, atStep, after(h, t * H), after(h, (t + 1) * H), cAfter, carried);
    }
    const tape = {
      slots: kernels.copy(slots, T * cell.slots * H),
      h: kernels.copy(h, (T + 1) * H),
      c: c ? kernels.copy(c, (T + 1) * H) : null,
    };
    return { tape, h };
  }

  private applyHead(h: number, T: number): Float32Array {
    const { at, bias, outputs } = this.head!;
    const y = this.kernels.zeros(T * outputs);
    if (T > 0) this.kernels.call.matrix_times(at, T, h, bias, y);
    return this.kernels.copy(y, T * outputs);
  }

  /** ∂L/∂h (T, H) of the last layer, from ∂L/∂output (T, O). */
  headAdjoint(gradOutput: Float32Array): Float32Array {
    const { kernels, H } = this;
    const { at, outputs } = this.head!;
    const T = gradOutput.length / outputs;
    return kernels.scratch(() => {
      const y = kernels.put(gradOutput);
      const h = kernels.zeros(T * H);
      if (T > 0) kernels.call.matrix_adjoint(at, T, y, h);
      return kernels.copy(h, T * H);
    });
  }

  /** Back through all steps, from ∂L/∂h (T, H) at the last layer. */
  backward(tape: Tape, gradH: Float32Array): Gradients {
    const { kernels } = this;
    return kernels.scratch(() => {
      const layers: LayerGradients[] = [];
      let gradOut = kernels.put(gradH);
      for (let index = this.layers.length - 1; index >= 0; index--) {
        const layer = this.layers[index]!;
        const { gradients, delta } = this.backwardLayer(layer, tape.layers[index]!, tape.T, gradOut);
        layers.unshift(gradients);
        gradOut = kernels.zeros(tape.T * layer.I);
        if (tape.T > 0) kernels.call.input_gradient(layer.at, tape.T, delta, gradOut);
      }
      return { layers, input: kernels.copy(gradOut, tape.T * this.I) };
    });
  }

  private backwardLayer(
    layer: Layer,
    tape: LayerTape,
    T: number,
    gradOut: number,
  ): { gradients: LayerGradients; delta: number } {
    const { kernels, H, cell } = this;
    const width = cell.slots * H;
    const slots = kernels.put(tape.slots);
    const state = kernels.put(tape.c ?? tape.h);
    const carry = kernels.zeros(3 * H);
    const delta = kernels.zeros(T * width);
    const h = kernels.zeros(T * H);
    const c = tape.c ? kernels.zeros(T * H) : 0;
    for (let t = T - 1; t >= 0; t--) {
      kernels.call.backward_step(
        layer.at,
        1,
        after(slots, t * width),
        after(state, t * H),
        after(state, (t + 1) * H),
        after(gradOut, t * H),
        carry,
        after(delta, t * width),
        after(h, t * H),
        c && after(c, t * H),
      );
    }
    const gradients = {
      delta: kernels.copy(delta, T * width),
      h: kernels.copy(h, T * H),
      c: c ? kernels.copy(c, T * H) : null,
    };
    return { gradients, delta };
  }

  /** Carries cotangents one step back in time; `carries` has (3, K, H) for each layer and is overwritten. */
  pullBack(tape: Tape, t: number, rows: number, carries: Float32Array[]): void {
    const { kernels, H, cell } = this;
    const width = cell.slots * H;
    kernels.scratch(() => {
      const delta = kernels.zeros(rows * width);
      let gradOut = 0;
      for (let index = this.layers.length - 1; index >= 0; index--) {
        const layer = this.layers[index]!;
        const recorded = tape.layers[index]!;
        const states = recorded.c ?? recorded.h;
        const slots = kernels.put(recorded.slots.subarray(t * width, (t + 1) * width));
        const state = kernels.put(states.subarray(t * H, (t + 2) * H));
        const carry = kernels.put(carries[index]!);
        kernels.call.backward_step(layer.at, rows, slots, state, after(state, H), gradOut, carry, delta, 0, 0);
        carries[index]!.set(kernels.view(carry, 3 * rows * H));
        if (index > 0) {
          gradOut = kernels.zeros(rows * H);
          kernels.call.input_gradient(layer.at, rows, delta, gradOut);
        }
      }
    });
  }
}
