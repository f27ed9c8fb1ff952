/** What viz/page/__init__.py wrote into the page: a description of the runs, their weights, and the kernels. */
import type { Weights } from "./engine/network";

/** Where an array lies among all floats, and how many it has. */
type Place = [start: number, count: number];

export interface Gate {
  name: string;
  words: string;
  slot: number;
  /** A name of rnncore/recurrent/variants.py, or null: there is none, or each direction has its own. */
  curve: string | null;
}

/** A part of the drawing of a cell, of viz/page/diagram.py. */
export type Part =
  | ["belt", number]
  | ["box", number, number, string, string]
  | ["node", number, number, string]
  | ["arrow" | "path", ...(number | boolean)[]]
  | ["note", number, number, string, CanvasTextAlign]
  | ["framed", number, number, string];

export interface CellDescription {
  kernel: string;
  label: string;
  equations: string;
  gates: Gate[];
  states: string[];
  curve: string | null;
  /** The gate that multiplies a unit's old state; or the one of which 1 minus its value does. */
  keeps: string | null;
  enters: string | null;
  diagram: { parts: Part[]; low: number; high: number };
}

type Arrays = "w_ih" | "w_hh" | "b_ih" | "b_hh" | "w_hr" | "peepholes";

export interface RunDescription {
  name: string;
  cell: CellDescription;
  inputSize: number;
  hiddenSize: number;
  outputSize: number;
  directions: number;
  /** One for each layer and direction; the input's and the state's weights are always there. */
  parts: Record<Arrays, Place | null>[];
  /** For each direction: both bounds (null: none), whether the gates are coupled, and kind, α, β of each activation. */
  variant: (number | null)[][] | null;
  embedding: Place | null;
  head: { weight: Place; bias: Place | null; outputs: number } | null;
  /** What the head reads: the output of each step, the state after the last one, or the mean of all outputs. */
  readout: "steps" | "last" | "mean";
  /** What the output is: the next symbol, the next row, a label of each step or sequence, or what the page does not know. */
  predicts: "symbol" | "row" | "label" | null;
  /** The type of the weights in Python; here they are float32. */
  dtype: "float32" | "float64";
}

export interface Example {
  name: string;
  input: string | number[][];
  /** Of each run the state from which it begins; null: it is zero. Left out: it is zero for all. */
  initial?: (Place | null)[];
}

export interface Description {
  title: string;
  /** The alphabet, or null where the input is rows of numbers. */
  symbols: string[] | null;
  /** The names of the labels, or null where no network predicts one. */
  labels: string[] | null;
  examples: Example[];
  runs: RunDescription[];
}

/** The three texts of a page; arrays and kernels are deflated, as base64. */
export interface Payload {
  description: string;
  arrays: string;
  kernels: string;
}

export function payloadOf(page: Document): Payload {
  const text = (id: string): string => page.getElementById(id)?.textContent ?? "";
  return { description: text("description"), arrays: text("arrays"), kernels: text("kernels") };
}

/** The bytes of deflated base64. */
export async function inflate(text: string): Promise<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/** The array at a place; null where there is none. */
export function arrayAt(floats: Float32Array, place: Place): Float32Array;
export function arrayAt(floats: Float32Array, place: Place | null): Float32Array | null;
export function arrayAt(floats: Float32Array, place: Place | null): Float32Array | null {
  return place && floats.subarray(place[0], place[0] + place[1]);
}

export function weightsOf(run: RunDescription, floats: Float32Array): Weights {
  const { head } = run;
  const maybe = (place: Place | null): Float32Array | null => arrayAt(floats, place);
  return {
    cell: run.cell.kernel,
    inputSize: run.inputSize,
    hiddenSize: run.hiddenSize,
    outputSize: run.outputSize,
    directions: run.directions,
    parts: run.parts.map((part) => ({
      w_ih: maybe(part.w_ih)!,
      w_hh: maybe(part.w_hh)!,
      b_ih: maybe(part.b_ih),
      b_hh: maybe(part.b_hh),
      w_hr: maybe(part.w_hr),
      peepholes: maybe(part.peepholes),
    })),
    variant: run.variant?.map((numbers) => numbers.map((value) => value ?? Infinity)) ?? null,
    embedding: maybe(run.embedding),
    head: head && { weight: arrayAt(floats, head.weight), bias: maybe(head.bias), outputs: head.outputs },
  };
}
