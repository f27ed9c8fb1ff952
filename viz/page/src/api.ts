/** globalThis.rnncore: the networks of the page, for tests and for people with a console open. */
import { JacobianNorms } from "./engine/jacobian";
import { Kernels } from "./engine/kernels";
import { Network } from "./engine/network";
import { Model, type Forward, type Sequence } from "./model";
import { arrayAt, inflate, weightsOf, type Description, type Payload } from "./payload";

export interface Numbers {
  shape: number[];
  data: Float32Array | Float64Array;
}

/** What a run may be asked for besides its name and input. */
export interface Asked {
  /** The number of the label whose loss is taken; by default that of the label which the network predicts. */
  label?: number | null;
  /** The number of the page's example in whose initial state the network begins; by default it is zero. */
  example?: number | null;
}

type Result = Record<string, Numbers | number | Record<string, Numbers>>;

export class Page {
  private constructor(
    readonly description: Description,
    readonly models: Model[],
    private readonly floats: Float32Array,
  ) {}

  static async open(payload: Payload): Promise<Page> {
    const description = JSON.parse(payload.description) as Description;
    const [kernels, arrays] = await Promise.all([inflate(payload.kernels), inflate(payload.arrays)]);
    const floats = new Float32Array(arrays);
    const compiled = await Kernels.from(kernels);
    const models = description.runs.map((run) => new Model(run, new Network(compiled, weightsOf(run, floats))));
    return new Page(description, models, floats);
  }

  /** The state from which a run begins with an example; null: it is zero. */
  initialOf(run: number, example: number): Float32Array | null {
    return arrayAt(this.floats, this.description.examples[example]?.initial?.[run] ?? null);
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
  async run(name: string, input: string | number[][], asked: Asked = {}): Promise<Result> {
    const index = this.models.findIndex((one) => one.name === name);
    const model = this.models[index];
    if (!model) {
      const names = this.models.map((one) => JSON.stringify(one.name)).join(", ");
      throw new RangeError(`name: got ${JSON.stringify(name)}, expected one of ${names}`);
    }
    const label = asked.label ?? null;
    const labels = model.predictsLabel ? model.description.head!.outputs : 0;
    if (label !== null && !(Number.isInteger(label) && label >= 0 && label < labels)) {
      throw new RangeError(`label: got ${label}, expected ${labels ? `0 to ${labels - 1}` : "none: it predicts no label"}`);
    }
    const initial = this.initialOf(index, asked.example ?? -1);
    const forward = model.forward(this.sequenceOf(input), initial);
    const { T, tape } = forward;
    const { gradients, gradOutput } = model.backward(forward, "mean", label);
    const { H, P, I, features, directions, cell } = model.network;
    const three = (data: Float32Array, width: number): Numbers => ({ shape: [T, 1, width], data });
    const result: Result = {};
    const grad: Record<string, Numbers> = {};
    tape.parts.forEach((part, place) => {
      const of = gradients.parts[place]!;
      const prefix = `l${Math.floor(place / directions)}${part.reverse ? ".reverse" : ""}`;
      result[`${prefix}.h`] = three(part.h, P);
      grad[`${prefix}.h`] = three(of.h, P);
      if (part.c && of.c) {
        result[`${prefix}.c`] = three(part.c, H);
        grad[`${prefix}.c`] = three(of.c, H);
      }
      for (const gate of model.description.cell.gates) {
        result[`${prefix}.${gate.name}`] = three(slotOf(part.slots, gate.slot, cell.slots, H), H);
        grad[`${prefix}.${gate.name}`] = three(slotOf(of.delta, gate.slot, cell.slots, H), H);
      }
    });
    if (forward.output) {
      const O = model.description.head!.outputs;
      const whole = model.description.readout !== "steps"; // one output for the sequence: the last row
      const data = whole ? forward.output.slice(-O) : forward.output;
      result.logits = { shape: whole ? [1, O] : [T, 1, O], data };
    }
    result.loss = model.meanLoss(forward, label);
    result.grad = grad;
    result.grad_output = three(gradOutput, features);
    result.grad_input = three(gradients.input, I);
    for (let direction = 0; direction < directions; direction++) {
      const data = await jacobianNorms(model, forward, direction);
      result[direction === 0 ? "jacobian_norms" : "jacobian_norms_reverse"] = { shape: [T, 1], data };
    }
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

/** From the end of one direction, which is the first step of the reverse one. */
async function jacobianNorms(model: Model, forward: Forward, direction: number): Promise<Float64Array> {
  const walk = new JacobianNorms(model.network, forward.tape, direction, direction === 0 ? forward.T - 1 : 0);
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
