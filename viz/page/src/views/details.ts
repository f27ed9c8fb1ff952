/** States and gates of one layer of one run, as maps on the time axis. */
import type { LayerTape } from "../engine/network";
import type { CellDescription } from "../payload";
import type { Shown } from "../session";
import type { TimeAxis } from "./axis";
import { element } from "./canvas";
import { drawMap, type Picture } from "./maps";
import type { Theme } from "./theme";
import { equation, number } from "./words";

const STATES: Record<string, string> = { h: "hidden state", c: "cell state" };
const [SHORT, TALL] = [40, 128];

export class Details {
  readonly root = element("section", { class: "panel details" });
  private readonly heading = element("h2");
  private readonly rows = element("div");
  private readonly order = element("select");
  private readonly maps = new Map<
    string,
    { row: HTMLElement; canvas: HTMLCanvasElement; words: HTMLElement; range: HTMLElement }
  >();

  constructor(changed: () => void) {
    this.order.append(new Option("slowest unit first", "slow"), new Option("by number", "number"));
    this.order.setAttribute("aria-label", "Order of the units");
    this.order.addEventListener("change", changed);
    this.root.append(this.heading, this.rows);
  }

  draw(run: Shown, axis: TimeAxis, layer: number, theme: Theme): void {
    const { model, forward } = run;
    const { cell } = model.description;
    const { H, layerCount } = model.network;
    const where = layerCount > 1 ? `, layer ${layer + 1} of ${layerCount}` : "";
    const units = element("span", { class: "legend" }, `${H} units, one a row, `, this.order);
    this.heading.replaceChildren(`Inside ${model.name}${where}: ${equation(cell)}`, units);
    const tape = forward.tape.layers[layer]!;
    const order =
      this.order.value === "slow"
        ? slowestFirst(tape, cell, model.network.cell.slots, H)
        : Array.from({ length: H }, (_, unit) => unit);
    const height = Math.max(SHORT, Math.min(TALL, 2 * H));
    const shown: HTMLElement[] = [];
    for (const state of cell.states) {
      const values = state === "h" ? tape.h : tape.c!;
      const curve = state === "h" ? cell.curve : null;
      const picture = pictureOf(values, H, H, order, curve, theme);
      shown.push(this.map(state, STATES[state] ?? state, axis, height, picture, theme));
    }
    for (const gate of cell.gates) {
      const picture = pictureOf(tape.slots, gate.slot * H, model.network.cell.slots * H, order, gate.curve, theme);
      shown.push(this.map(gate.name, gate.words, axis, height, picture, theme));
    }
    this.rows.replaceChildren(...shown);
  }

  private map(
    name: string,
    words: string,
    axis: TimeAxis,
    height: number,
    picture: Picture,
    theme: Theme,
  ): HTMLElement {
    let found = this.maps.get(name);
    if (!found) {
      const [canvas, told, range] = [
        element("canvas"),
        element("span", { class: "words" }),
        element("span", { class: "range" }),
      ];
      const label = element("div", { class: "map-name" }, element("b", { text: name }), told, range);
      found = { row: element("div", { class: "map" }, label, canvas), canvas, words: told, range };
      this.maps.set(name, found);
    }
    found.words.textContent = words;
    found.range.textContent = `${number(picture.low)} to ${number(picture.high)}`;
    found.canvas.setAttribute("role", "img");
    found.canvas.setAttribute("aria-label", `${words} ${name} of each unit at each step, ${found.range.textContent}`);
    drawMap(found.canvas, axis, height, picture, theme);
    return found.row;
  }
}

/** Units in descending order of their time scale: that of the gate that keeps the old state, or that of h itself. */
function slowestFirst(tape: LayerTape, cell: CellDescription, slots: number, H: number): number[] {
  const gate = cell.gates.find(({ name }) => name === (cell.keeps ?? cell.enters));
  const speed = Array.from({ length: H }, (_, unit) =>
    gate ? -meanLogKept(tape, gate.slot * H + unit, slots * H, cell.keeps !== null) : meanChange(tape, unit, H),
  );
  return Array.from(speed.keys()).sort((a, b) => speed[a]! - speed[b]!);
}

/** The mean of ln f: viz.timescales is −1 divided by it. */
function meanLogKept(tape: LayerTape, start: number, stride: number, keeps: boolean): number {
  let sum = 0;
  let count = 0;
  for (let at = start; at < tape.slots.length; at += stride, count++) {
    sum += Math.log(Math.max(keeps ? tape.slots[at]! : 1 - tape.slots[at]!, 1e-30));
  }
  return sum / Math.max(count, 1);
}

/** The mean square of the change of h in a step, relative to its variance. */
function meanChange(tape: LayerTape, unit: number, H: number): number {
  const T = tape.h.length / H - 1;
  let [sum, squares, changes] = [0, 0, 0];
  for (let t = 1; t <= T; t++) {
    const h = tape.h[t * H + unit]!;
    sum += h;
    squares += h * h;
    changes += (h - tape.h[(t - 1) * H + unit]!) ** 2;
  }
  return changes / Math.max(squares - (sum * sum) / Math.max(T, 1), 1e-30);
}

/** Shares have fixed limits, 0 to 1; what may be negative is drawn around 0. */
function pictureOf(
  values: Float32Array,
  start: number,
  stride: number,
  order: number[],
  curve: "sigmoid" | "tanh" | "relu" | null,
  theme: Theme,
): Picture {
  const rest = { values, start, stride, order };
  if (curve === "sigmoid") return { ...rest, table: theme.share, low: 0, high: 1 };
  if (curve === "tanh") return { ...rest, table: theme.signed, low: -1, high: 1 };
  let largest = 0;
  for (let at = start; at < values.length; at += stride) {
    for (const unit of order) {
      const size = Math.abs(values[at + unit]!);
      if (size > largest && Number.isFinite(size)) largest = size;
    }
  }
  largest ||= 1;
  return { ...rest, table: theme.signed, low: -largest, high: largest };
}
