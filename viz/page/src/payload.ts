/** What viz/page/__init__.py wrote into the page: a description of the runs, their weights, and the kernels. */
import type { Weights } from "./engine/network";

/** Where an array lies among all floats, and how many it has. */
type Place = [start: number, count: number];

export interface Gate {
  name: string;
  words: string;
  slot: number;
  curve: "sigmoid" | "tanh" | null;
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
  curve: "tanh" | "sigmoid" | "relu";
  /** The gate that multiplies a unit's old state; or the one of which 1 minus its value does. */
  keeps: string | null;
  enters: string | null;
  diagram: { parts: Part[]; low: number; high: number };
}

export interface RunDescription {
  name: string;
  cell: CellDescription;
  inputSize: number;
  hiddenSize: number;
  layers: { w_ih: Place; w_hh: Place; b_ih: Place | null; b_hh: Place | null }[];
  embedding: Place | null;
  head: { weight: Place; bias: Place | null; outputs: number } | null;
  /** What the network learnt to predict: the next symbol, the next row, or nothing that the page knows. */
  predicts: "symbol" | "row" | null;
  /** The type of the weights in Python; here they are float32. */
  dtype: "float32" | "float64";
}

export interface Description {
  title: string;
  /** The alphabet, or null where the input is rows of numbers. */
  symbols: string[] | null;
  examples: { name: string; input: string | number[][] }[];
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

export function weightsOf(run: RunDescription, floats: Float32Array): Weights {
  const at = ([start, count]: Place): Float32Array => floats.subarray(start, start + count);
  const maybe = (place: Place | null): Float32Array | null => place && at(place);
  return {
    cell: run.cell.kernel,
    inputSize: run.inputSize,
    hiddenSize: run.hiddenSize,
    layers: run.layers.map((layer) => ({
      w_ih: at(layer.w_ih),
      w_hh: at(layer.w_hh),
      b_ih: maybe(layer.b_ih),
      b_hh: maybe(layer.b_hh),
    })),
    embedding: maybe(run.embedding),
    head: run.head && { weight: at(run.head.weight), bias: maybe(run.head.bias), outputs: run.head.outputs },
  };
}
