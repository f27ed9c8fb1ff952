/** ‖∂s_T/∂s_{T−k}‖₂ for every lag k, one lag after the other: viz.jacobian_norms. */
import type { Network, Tape } from "./network";
import { SpectralNorm } from "./spectral";

/** Cotangents whose largest entry leaves 1/CALM … CALM are scaled, by a power of two: rnncore/recurrent/pullback.py. */
const CALM = 1e10;

export class JacobianNorms {
  /** (T,): NaN where it is not yet computed; element 0 is 1. */
  readonly norms: Float64Array;
  lag = 0;
  private readonly carries: Float32Array[];
  private readonly logScale: Float64Array;
  private readonly spectral: SpectralNorm;
  private readonly S: number;

  constructor(
    private readonly network: Network,
    private readonly tape: Tape,
  ) {
    const { H, layerCount } = network;
    this.S = network.carrySize;
    this.norms = new Float64Array(tape.T).fill(NaN);
    this.norms.fill(1, 0, 1);
    this.logScale = new Float64Array(this.S);
    this.spectral = new SpectralNorm(this.S, this.S);
    this.carries = Array.from({ length: layerCount }, () => new Float32Array(3 * this.S * H));
    for (let k = 0; k < this.S; k++) {
      // the identity; s is (state, layer, unit)
      const { state, layer, unit } = this.placeOf(k);
      this.carries[layer]![(state * this.S + k) * H + unit] = 1;
    }
  }

  get done(): boolean {
    return this.lag >= this.tape.T - 1;
  }

  private placeOf(s: number): { state: number; layer: number; unit: number } {
    const { H, layerCount } = this.network;
    return { state: Math.floor(s / (layerCount * H)), layer: Math.floor(s / H) % layerCount, unit: s % H };
  }

  /** One lag further. */
  advance(): void {
    this.network.pullBack(this.tape, this.tape.T - 1 - this.lag, this.S, this.carries);
    this.lag += 1;
    const largest = this.rescale();
    this.norms[this.lag] = largest.every(Number.isFinite) ? this.norm() : NaN;
  }

  /** The parts of cotangent k: one array of H numbers for each state and layer, in the order of s. */
  private parts(k: number): Float32Array[] {
    const { H, layerCount, cell } = this.network;
    const parts: Float32Array[] = [];
    for (let state = 0; state < cell.states; state++) {
      for (let layer = 0; layer < layerCount; layer++) {
        const at = (state * this.S + k) * H;
        parts.push(this.carries[layer]!.subarray(at, at + H));
      }
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
