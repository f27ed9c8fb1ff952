/** States and gates of one layer of one run, as maps on the time axis. */
import type { LayerTape } from "../engine/network";
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
  private readonly maps = new Map<string, { row: HTMLElement; canvas: HTMLCanvasElement; words: HTMLElement; range: HTMLElement }>();

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
    const order = this.order.value === "slow" ? slowestFirst(tape, H) : Array.from({ length: H }, (_, unit) => unit);
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

  private map(name: string, words: string, axis: TimeAxis, height: number, picture: Picture, theme: Theme): HTMLElement {
    let found = this.maps.get(name);
    if (!found) {
      const [canvas, told, range] = [element("canvas"), element("span", { class: "words" }), element("span", { class: "range" })];
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

/** Units in ascending order of the mean square of their change in a step, relative to their variance. */
function slowestFirst(tape: LayerTape, H: number): number[] {
  const T = tape.h.length / H - 1;
  const speed = Array.from({ length: H }, (_, unit) => {
    let [sum, squares, changes] = [0, 0, 0];
    for (let t = 1; t <= T; t++) {
      const h = tape.h[t * H + unit]!;
      sum += h;
      squares += h * h;
      changes += (h - tape.h[(t - 1) * H + unit]!) ** 2;
    }
    return changes / Math.max(squares - sum * sum / Math.max(T, 1), 1e-30);
  });
  return Array.from(speed.keys()).sort((a, b) => speed[a]! - speed[b]!);
}

/** Shares have fixed limits, 0 to 1; what may be negative is drawn around 0. */
function pictureOf(values: Float32Array, start: number, stride: number, order: number[],
                   curve: "sigmoid" | "tanh" | "relu" | null, theme: Theme): Picture {
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
