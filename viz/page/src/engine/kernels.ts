/**
 * The kernels of src/kernels, compiled to WebAssembly, and the memory that they share with the page.
 *
 * Memory is a stack: what belongs to the networks is taken first and stays, what belongs to one pass is taken above it
 * and released when the pass ends. An address is a number of bytes, 0 is "none". Growing the memory makes earlier views
 * of it useless, so a view is made where it is used and not kept.
 */

interface Exports {
  memory: WebAssembly.Memory;
  heap_base(): number;
  cell_count(): number;
  cell_name(cell: number): number;
  cell_slots(cell: number): number;
  cell_states(cell: number): number;
  cell_blocks(cell: number): number;
  layer_bytes(cell: number, I: number, H: number, P: number): number;
  layer_pack(
    layer: number,
    cell: number,
    I: number,
    H: number,
    P: number,
    w_ih: number,
    w_hh: number,
    b_ih: number,
    b_hh: number,
    w_hr: number,
  ): void;
  layer_vary(layer: number, options: number, peepholes: number): void;
  layer_slopes(layer: number, n: number, y: number, slopes: number): void;
  matrix_bytes(n: number, k: number): number;
  matrix_pack(matrix: number, n: number, k: number, w: number): void;
  matrix_times(matrix: number, rows: number, x: number, bias: number, y: number): void;
  matrix_adjoint(matrix: number, rows: number, y: number, x: number): void;
  project(layer: number, T: number, x: number, slots: number): void;
  forward_step(layer: number, slots: number, hBefore: number, h: number, c: number, carried: number): void;
  backward_step(
    layer: number,
    rows: number,
    slots: number,
    before: number,
    state: number,
    gradOut: number,
    carry: number,
    delta: number,
    totalH: number,
    totalC: number,
  ): void;
  input_gradient(layer: number, rows: number, delta: number, gradX: number, adds: number): void;
}

/** One row of the kernels' table of cells: src/kernels/table.h. */
export interface CellKernel {
  index: number;
  name: string;
  slots: number;
  states: number;
  blocks: number;
}

const PAGE = 65536;
const FLOAT = 4;

export class Kernels {
  readonly cells: Map<string, CellKernel>;
  private top: number;

  private constructor(readonly call: Exports) {
    this.top = align(call.heap_base());
    this.cells = new Map();
    for (let index = 0; index < call.cell_count(); index++) {
      const name = this.textAt(call.cell_name(index));
      const [slots, states, blocks] = [call.cell_slots(index), call.cell_states(index), call.cell_blocks(index)];
      this.cells.set(name, { index, name, slots, states, blocks });
    }
  }

  static async from(bytes: BufferSource): Promise<Kernels> {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return new Kernels(instance.exports as unknown as Exports);
  }

  /** The address of so many bytes. */
  take(bytes: number): number {
    const at = this.top;
    this.top = align(at + bytes);
    const missing = this.top - this.call.memory.buffer.byteLength;
    if (missing > 0) this.call.memory.grow(Math.ceil(missing / PAGE));
    return at;
  }

  /** The address of n floats, which are 0. */
  zeros(n: number): number {
    const at = this.take(n * FLOAT);
    this.view(at, n).fill(0);
    return at;
  }

  /** The address of a copy of an array. */
  put(values: Float32Array): number {
    const at = this.take(values.length * FLOAT);
    this.view(at, values.length).set(values);
    return at;
  }

  view(at: number, n: number): Float32Array {
    return new Float32Array(this.call.memory.buffer, at, n);
  }

  copy(at: number, n: number): Float32Array {
    return this.view(at, n).slice();
  }

  /** Runs a pass, and releases the memory that it took. */
  scratch<Result>(pass: () => Result): Result {
    const before = this.top;
    try {
      return pass();
    } finally {
      this.top = before;
    }
  }

  private textAt(at: number): string {
    const bytes = new Uint8Array(this.call.memory.buffer, at);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }
}

/** The address n floats further on. */
export function after(at: number, n: number): number {
  return at + n * FLOAT;
}

function align(at: number): number {
  return Math.ceil(at / 16) * 16;
}
