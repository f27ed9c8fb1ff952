/** The largest singular value of a matrix that changes little from call to call. */

const MOST_STEPS = 80;
/** Of the residual: the error of the eigenvalue is its square, divided by the distance to the next. */
const TOLERANCE = 1e-7;

/**
 * ‖M‖₂ by Lanczos on M·Mᵀ in double precision, with full orthogonalisation.
 *
 * It starts from the singular vector of the call before, mixed with a little of every direction, so that a vector
 * orthogonal to it is found too. It ends where the residual of the largest Ritz value is below the tolerance.
 */
export class SpectralNorm {
  private start: Float64Array;

  constructor(
    private readonly K: number,
    private readonly S: number,
  ) {
    this.start = new Float64Array(K);
  }

  /** The norm of M (K, S), which is finite. */
  norm(M: Float64Array): number {
    let largest = 0;
    for (const value of M) largest = Math.max(largest, Math.abs(value));
    if (largest === 0) return 0;
    const basis = [this.first()];
    const diagonal: number[] = [];
    const beside: number[] = [];
    const most = Math.min(MOST_STEPS, this.K);
    let theta = 0;
    let vector = [1];
    for (let j = 0; j < most; j++) {
      const w = this.gram(M, basis[j]!, largest);
      diagonal.push(dot(basis[j]!, w));
      for (let pass = 0; pass < 2; pass++) for (const q of basis) addTo(w, q, -dot(q, w));
      const rest = Math.sqrt(dot(w, w));
      ({ theta, vector } = largestOfTridiagonal(diagonal, beside));
      if (rest * Math.abs(vector[j]!) <= TOLERANCE * theta || rest === 0 || j === most - 1) break;
      beside.push(rest);
      basis.push(w.map((value) => value / rest));
    }
    const kept = new Float64Array(this.K);
    vector.forEach((share, j) => addTo(kept, basis[j]!, share));
    this.start = kept;
    return Math.sqrt(theta) * largest;
  }

  private first(): Float64Array {
    const q = new Float64Array(this.K);
    let seed = 1;
    for (let i = 0; i < this.K; i++) {
      seed = (seed * 48271) % 2147483647;
      q[i] = this.start[i]! + 1e-3 * (seed / 1073741823.5 - 1);
    }
    const size = Math.sqrt(dot(q, q));
    return q.map((value) => value / size);
  }

  /** M·(Mᵀ·q), of M divided by its largest entry. */
  private gram(M: Float64Array, q: Float64Array, largest: number): Float64Array {
    const { K, S } = this;
    const inner = new Float64Array(S);
    for (let k = 0; k < K; k++) {
      const share = q[k]! / largest;
      if (share === 0) continue;
      for (let s = 0, at = k * S; s < S; s++, at++) inner[s]! += share * M[at]!;
    }
    const out = new Float64Array(K);
    for (let k = 0; k < K; k++) {
      let sum = 0;
      for (let s = 0, at = k * S; s < S; s++, at++) sum += M[at]! * inner[s]!;
      out[k] = sum / largest;
    }
    return out;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function addTo(to: Float64Array, from: Float64Array, share: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += share * from[i]!;
}

/** The largest eigenvalue of a symmetric tridiagonal matrix, by bisection, and its vector, by inverse iteration. */
function largestOfTridiagonal(diagonal: number[], beside: number[]): { theta: number; vector: number[] } {
  const n = diagonal.length;
  let low = Math.max(...diagonal);
  let high = low;
  for (let i = 0; i < n; i++) {
    high = Math.max(high, diagonal[i]! + Math.abs(beside[i - 1] ?? 0) + Math.abs(beside[i] ?? 0));
  }
  while (high - low > 1e-15 * high) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (anyAbove(diagonal, beside, middle)) low = middle;
    else high = middle;
  }
  const shift = high * (1 + 1e-14);
  let vector = new Array<number>(n).fill(1 / Math.sqrt(n));
  for (let round = 0; round < 3; round++) vector = unit(solve(diagonal, beside, shift, vector));
  return { theta: high, vector };
}

/** Whether an eigenvalue is above x: the pivots of x − A would all be positive otherwise. */
function anyAbove(diagonal: number[], beside: number[], x: number): boolean {
  let pivot = x - diagonal[0]!;
  for (let i = 1; pivot > 0 && i < diagonal.length; i++) pivot = x - diagonal[i]! - beside[i - 1]! ** 2 / pivot;
  return pivot <= 0;
}

/** (x − A)⁻¹·b, for x above all eigenvalues. */
function solve(diagonal: number[], beside: number[], x: number, b: number[]): number[] {
  const n = diagonal.length;
  const pivots = [x - diagonal[0]!];
  const y = [b[0]!];
  for (let i = 1; i < n; i++) {
    const ratio = -beside[i - 1]! / pivots[i - 1]!;
    pivots.push(Math.max(x - diagonal[i]! + ratio * beside[i - 1]!, Number.MIN_VALUE));
    y.push(b[i]! - ratio * y[i - 1]!);
  }
  for (let i = n - 1; i >= 0; i--) y[i] = (y[i]! + (i < n - 1 ? beside[i]! * y[i + 1]! : 0)) / pivots[i]!;
  return y;
}

function unit(v: number[]): number[] {
  const largest = Math.max(...v.map(Math.abs));
  const size = largest * Math.sqrt(v.reduce((sum, value) => sum + (value / largest) ** 2, 0));
  return v.map((value) => value / size);
}
