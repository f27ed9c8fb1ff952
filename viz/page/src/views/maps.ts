/** Pictures of numbers: one column a step, one row a unit. */
import { GUTTER, type TimeAxis } from "./axis";
import { prepare } from "./canvas";
import type { Table, Theme } from "./theme";

export interface Picture {
  /** Row r shows unit order[r]; the value of unit u at step t is values[start + t * stride + u]. */
  values: Float32Array;
  start: number;
  stride: number;
  order: number[];
  /** The table for the share (value − low) / (high − low). */
  table: Table;
  low: number;
  high: number;
}

const scratch = new Map<string, HTMLCanvasElement>();

export function drawMap(
  canvas: HTMLCanvasElement,
  axis: TimeAxis,
  height: number,
  picture: Picture,
  theme: Theme,
): void {
  const { context } = prepare(canvas, axis.plotWidth, height);
  const [first, last] = axis.shown;
  const T = last - first;
  if (T <= 0) return;
  const { order, values, start, stride, table, low } = picture;
  const H = order.length;
  const image = new ImageData(T, H);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = 255 / (picture.high - low);
  for (let t = 0; t < T; t++) {
    for (let row = 0; row < H; row++) {
      const at = (values[start + (first + t) * stride + order[row]!]! - low) * scale + 0.5;
      pixels[row * T + t] = Number.isFinite(at) ? table[at < 0 ? 0 : at > 255 ? 255 : at | 0]! : theme.unknown;
    }
  }
  paint(context, image, axis.left(first) - GUTTER, axis.step * T, height);
}

/** One strip of colours, one for each step. */
export function drawStrip(
  context: CanvasRenderingContext2D,
  axis: TimeAxis,
  top: number,
  height: number,
  colours: Uint32Array,
): void {
  const [first, last] = axis.shown;
  if (last <= first) return;
  const left = axis.left(first) - GUTTER;
  drawColours(context, colours.subarray(first, last), left, top, axis.step * (last - first), height);
}

/** Colours side by side in a rectangle. */
export function drawColours(
  context: CanvasRenderingContext2D,
  colours: Uint32Array,
  left: number,
  top: number,
  width: number,
  height: number,
): void {
  const image = new ImageData(colours.length, 1);
  new Uint32Array(image.data.buffer).set(colours);
  paint(context, image, left, width, height, top);
}

function paint(
  context: CanvasRenderingContext2D,
  image: ImageData,
  left: number,
  width: number,
  height: number,
  top = 0,
): void {
  const { width: w, height: h } = image;
  const key = `${w}×${h}`;
  let canvas = scratch.get(key);
  if (!canvas) {
    if (scratch.size > 8) scratch.clear();
    canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [w, h];
    scratch.set(key, canvas);
  }
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = w > width || h > height; // several values in a pixel: their mean
  context.drawImage(canvas, 0, 0, w, h, left, top, width, height);
}
