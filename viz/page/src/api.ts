/** globalThis.rnncore: the networks of the page, for tests and for people with a console open. */
import { JacobianNorms } from "./engine/jacobian";
import { Kernels } from "./engine/kernels";
import { Network } from "./engine/network";
import { Model, type Forward, type Sequence } from "./model";
import { inflate, weightsOf, type Description, type Payload } from "./payload";

export interface Numbers {
  shape: number[];
  data: Float32Array | Float64Array;
}

type Result = Record<string, Numbers | number | Record<string, Numbers>>;

export class Page {
  private constructor(
    readonly description: Description,
    readonly models: Model[],
  ) {}

  static async open(payload: Payload): Promise<Page> {
    const description = JSON.parse(payload.description) as Description;
    const [kernels, arrays] = await Promise.all([inflate(payload.kernels), inflate(payload.arrays)]);
    const floats = new Float32Array(arrays);
    const compiled = await Kernels.from(kernels);
    const models = description.runs.map((run) => new Model(run, new Network(compiled, weightsOf(run, floats))));
    return new Page(description, models);
  }

  /** What the networks read, of a text or of rows of numbers; an error says which part they do not know. */
  sequenceOf(input: string | number[][]): Sequence {
    const { symbols } = this.description;
    if (typeof input === "string") {
      if (!symbols)
        throw new TypeError("textOrRows: got a text, expected rows of numbers: these networks read no symbols");
      const places = new Map(symbols.map((symbol, token) => [symbol, token]));
      const tokens = Array.from(input, (symbol, step) => {
        const token = places.get(symbol);
        if (token !== undefined) return token;
        throw new RangeError(
          `textOrRows: got ${JSON.stringify(symbol)} at step ${step}, expected one of the ` +
            `${symbols.length} symbols that the networks know (rnncore.symbols)`,
        );
      });
      return { tokens };
    }
    if (symbols) throw new TypeError("textOrRows: got rows, expected a text: these networks read symbols");
    const width = this.description.runs[0]!.inputSize;
    input.forEach((row, step) => {
      if (row.length !== width || !row.every(Number.isFinite)) {
        throw new RangeError(`textOrRows: got ${row.length} values at step ${step}, expected ${width} finite numbers`);
      }
    });
    return { rows: Float32Array.from(input.flat()) };
  }

  /** All that design.md names, of one run: values, logits, loss, gradients of the mean loss, Jacobian norms. */
  async run(name: string, input: string | number[][]): Promise<Result> {
    const model = this.models.find((one) => one.name === name);
    if (!model) {
      const names = this.models.map((one) => JSON.stringify(one.name)).join(", ");
      throw new RangeError(`name: got ${JSON.stringify(name)}, expected one of ${names}`);
    }
    const forward = model.forward(this.sequenceOf(input));
    const { T, tape } = forward;
    const { gradients, gradOutput } = model.backward(forward, "mean");
    const H = model.network.H;
    const three = (data: Float32Array): Numbers => ({ shape: [T, 1, T > 0 ? data.length / T : H], data });
    const result: Result = {};
    const grad: Record<string, Numbers> = {};
    tape.layers.forEach((layer, index) => {
      const of = gradients.layers[index]!;
      result[`l${index}.h`] = three(layer.h.slice(H));
      grad[`l${index}.h`] = three(of.h);
      if (layer.c && of.c) {
        result[`l${index}.c`] = three(layer.c.slice(H));
        grad[`l${index}.c`] = three(of.c);
      }
      for (const gate of model.description.cell.gates) {
        result[`l${index}.${gate.name}`] = three(slotOf(layer.slots, gate.slot, model.network.cell.slots, H));
        grad[`l${index}.${gate.name}`] = three(slotOf(of.delta, gate.slot, model.network.cell.slots, H));
      }
    });
    if (tape.output) result.logits = { shape: [T, 1, model.description.head!.outputs], data: tape.output };
    result.loss = model.meanLoss(forward);
    result.grad = grad;
    result.grad_output = three(gradOutput);
    result.grad_input = { shape: [T, 1, model.network.I], data: gradients.input };
    result.jacobian_norms = { shape: [T, 1], data: await jacobianNorms(model, forward) };
    return result;
  }
}

/** One slot of (T, slots, H), as an array of its own (T, H). */
export function slotOf(slots: Float32Array, slot: number, count: number, H: number): Float32Array {
  const T = slots.length / (count * H);
  const out = new Float32Array(T * H);
  for (let t = 0; t < T; t++) {
    const at = (t * count + slot) * H;
    out.set(slots.subarray(at, at + H), t * H);
  }
  return out;
}

async function jacobianNorms(model: Model, forward: Forward): Promise<Float64Array> {
  const walk = new JacobianNorms(model.network, forward.tape);
  let last = performance.now();
  while (!walk.done) {
    walk.advance();
    if (performance.now() - last > 50) {
      // the page stays alive meanwhile
      await new Promise((resume) => setTimeout(resume, 0));
      last = performance.now();
    }
  }
  return walk.norms;
}
