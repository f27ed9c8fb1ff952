/** ‖∂s_T/∂s_{T−k}‖₂ for every lag k, one lag after the other: viz.jacobian_norms. */
import type { Network, Tape } from "./network";
import { SpectralNorm } from "./spectral";

/** Cotangents whose largest entry leaves 1/CALM … CALM are scaled, by a power of two: rnncore/recurrent/pullback.py. */
const CALM = 1e10;

export class JacobianNorms {
  /** One for each lag; NaN where it is not yet computed; element 0 is 1. */
  readonly norms: Float64Array;
  lag = 0;
  private readonly carries: Float32Array[];
  private readonly logScale: Float64Array;
  private readonly spectral: SpectralNorm;
  private readonly S: number;

  /** From the state of one direction after step `from`; the reverse direction goes to later steps. */
  constructor(
    private readonly network: Network,
    private readonly tape: Tape,
    private readonly direction: number,
    private readonly from: number,
  ) {
    this.S = network.carrySize;
    this.norms = new Float64Array(direction === 0 ? from + 1 : tape.T - Math.max(0, from)).fill(NaN);
    this.norms.fill(1, 0, 1);
    this.logScale = new Float64Array(this.S);
    this.spectral = new SpectralNorm(this.S, this.S);
    this.carries = Array.from({ length: network.layerCount }, () => new Float32Array(network.carriesOfLayer(this.S)));
    for (let k = 0; k < this.S; k++) {
      let at = k; // of the identity, row k has its 1 here along the parts of s
      for (const part of this.parts(k)) {
        if (at >= 0 && at < part.length) part[at] = 1;
        at -= part.length;
      }
    }
  }

  get done(): boolean {
    return this.lag >= this.norms.length - 1;
  }

  /** One lag further. */
  advance(): void {
    const t = this.direction === 0 ? this.from - this.lag : this.from + this.lag;
    this.network.pullBack(this.tape, t, this.direction, this.S, this.carries);
    this.lag += 1;
    const largest = this.rescale();
    this.norms[this.lag] = largest.every(Number.isFinite) ? this.norm() : NaN;
  }

  /** The parts of cotangent k: one array for each state and layer, in the order of s. */
  private parts(k: number): Float32Array[] {
    const parts: Float32Array[] = [];
    let before = 0; // where a state begins among the cotangents of a layer
    for (const size of this.network.stateSizes) {
      for (const carry of this.carries) parts.push(carry.subarray(before + k * size, before + (k + 1) * size));
      before += this.S * size;
    }
    return parts;
  }

  private rescale(): number[] {
    const all: number[] = [];
    for (let k = 0; k < this.S; k++) {
      const parts = this.parts(k);
      let largest = 0;
      for (const part of parts) {
        for (const value of part) {
          const size = Math.abs(value);
          if (!(size <= largest)) largest = size; // NaN stays
        }
      }
      all.push(largest);
      if (!Number.isFinite(largest) || largest === 0 || (largest <= CALM && largest >= 1 / CALM)) continue;
      const exponent = exponentOf(largest);
      const scale = 2 ** -exponent;
      for (const part of parts) for (let i = 0; i < part.length; i++) part[i]! *= scale;
      this.logScale[k]! += exponent * Math.LN2;
    }
    return all;
  }

  private norm(): number {
    const { S } = this;
    let top = -Infinity;
    for (const scale of this.logScale) top = Math.max(top, scale);
    const M = new Float64Array(S * S);
    for (let k = 0; k < S; k++) {
      const scale = Math.exp(this.logScale[k]! - top);
      let at = k * S;
      for (const part of this.parts(k)) for (const value of part) M[at++] = value * scale;
    }
    return Math.exp(Math.log(this.spectral.norm(M)) + top);
  }
}

/** e with 2^(e−1) ≤ x < 2^e, as frexp has it. */
function exponentOf(x: number): number {
  let exponent = Math.floor(Math.log2(x)) + 1;
  if (2 ** exponent <= x) exponent += 1;
  if (2 ** (exponent - 1) > x) exponent -= 1;
  return exponent;
}
