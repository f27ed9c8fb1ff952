/** Lines over time or over the lag, on a linear or a logarithmic scale. */
import { prepare } from "./canvas";
import type { Theme } from "./theme";
import { number, superscript } from "./words";

export interface Line {
  values: ArrayLike<number>;
  colour: string;
  dash: number[];
  /** Drawn stronger than the others, and above them. */
  focused: boolean;
  /** Whether each value has a dot. */
  dots?: boolean;
}

export interface Frame {
  width: number;
  height: number;
  /** Left of the plot, for numbers; 0: there are none, and only the line of 0. */
  left: number;
  /** The place of element i. */
  x: (i: number) => number;
  logarithmic: boolean;
  /** The elements that are shown, from the first to the one after the last; by default all. */
  shown?: [number, number];
  /** Numbers under the plot, and their places. */
  ticks?: { at: number; text: string }[];
}

/** What a logarithmic scale shows at most, counted from the largest value: all of float32 would flatten the rest. */
const MOST_DECADES = 16;
const TOP = 8;

/** Draws the lines, and returns the value at a height of the canvas. */
export function drawLines(canvas: HTMLCanvasElement, lines: Line[], frame: Frame, theme: Theme): (y: number) => number {
  const { context } = prepare(canvas, frame.width, frame.height);
  const bottom = frame.height - (frame.ticks ? 20 : 6);
  const [low, high] = rangeOf(lines, frame.logarithmic);
  const at = frame.logarithmic ? Math.log : (value: number) => value;
  const y = (value: number): number => bottom - ((at(value) - at(low)) / (at(high) - at(low))) * (bottom - TOP);
  context.textBaseline = "middle";
  for (const tick of frame.logarithmic ? decades(low, high) : frame.left === 0 ? [0] : roundNumbers(low, high)) {
    const height = Math.round(y(tick)) + 0.5;
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(frame.left, height);
    context.lineTo(frame.width, height);
    context.stroke();
    context.fillStyle = theme.muted;
    context.textAlign = "right";
    const text = frame.logarithmic
      ? tick === 1
        ? "1"
        : `10${superscript(Math.round(Math.log10(tick)))}`
      : number(tick);
    context.fillText(text, frame.left - 8, height);
  }
  context.textAlign = "center";
  for (const { at, text } of frame.ticks ?? []) context.fillText(text, at, frame.height - 8);
  context.save();
  context.beginPath(); // a line leaves the plot where its values are below what is shown
  context.rect(frame.left, 0, frame.width - frame.left, bottom + 1);
  context.clip();
  for (const line of [...lines].sort((a, b) => Number(a.focused) - Number(b.focused))) {
    context.strokeStyle = line.colour;
    context.globalAlpha = line.focused ? 1 : 0.7;
    context.lineWidth = line.focused ? 2.25 : 1.25;
    context.setLineDash(line.dash);
    context.beginPath();
    let open = false;
    const [from, to] = frame.shown ?? [0, line.values.length];
    for (let i = Math.max(0, from - 1); i < Math.min(line.values.length, to + 1); i++) {
      const value = line.values[i]!;
      const drawn = Number.isFinite(value) && (!frame.logarithmic || value > 0);
      if (drawn && open) context.lineTo(frame.x(i), y(value));
      else if (drawn) context.moveTo(frame.x(i), y(value));
      if (drawn && !open && !Number.isFinite(line.values[i + 1] ?? NaN)) context.lineTo(frame.x(i) + 2, y(value));
      open = drawn;
    }
    context.stroke();
    if (line.dots) {
      context.fillStyle = line.colour;
      for (let i = Math.max(0, from - 1); i < Math.min(line.values.length, to + 1); i++) {
        context.beginPath();
        context.arc(frame.x(i), y(line.values[i]!), 2.5, 0, 2 * Math.PI);
        context.fill();
      }
    }
  }
  context.restore();
  return (height) => low + ((bottom - height) / (bottom - TOP)) * (high - low);
}

function rangeOf(lines: Line[], logarithmic: boolean): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const { values } of lines) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value) || (logarithmic && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) [low, high] = logarithmic ? [1e-3, 1] : [0, 1];
  if (!logarithmic) {
    const bottom = Math.min(0, low);
    const step = roundStep(bottom, high > bottom ? high : bottom + 1);
    return [Math.floor(bottom / step) * step, Math.ceil((high > bottom ? high : bottom + 1) / step) * step];
  }
  low = Math.max(low, high * 10 ** -MOST_DECADES);
  low = Math.min(low, high / 100);
  return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high))];
}

/** 1, 2 or 5 times a power of ten, of which three to six fit between two numbers. */
function roundStep(low: number, high: number): number {
  const least = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= 0.999 * least)!;
}

function roundNumbers(low: number, high: number): number[] {
  const step = roundStep(low, high);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** At most six powers of ten. */
function decades(low: number, high: number): number[] {
  const [first, last] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))];
  const every = Math.max(1, Math.ceil((last - first) / 5));
  const found: number[] = [];
  for (let exponent = last; exponent >= first; exponent -= every) found.push(10 ** exponent);
  return found;
}
