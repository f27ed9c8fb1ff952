/** States and gates of one layer of one run, as maps on the time axis. */
import type { Shown } from "../session";
import type { TimeAxis } from "./axis";
import { element } from "./canvas";
import { drawMap, type Picture } from "./maps";
import type { Theme } from "./theme";
import { number } from "./words";

const STATES: Record<string, string> = { h: "hidden state", c: "cell state" };
const [SHORT, TALL] = [40, 88];

export class Details {
  readonly root = element("section", { class: "panel details" });
  private readonly heading = element("h2");
  private readonly rows = element("div");
  private readonly maps = new Map<string, { row: HTMLElement; canvas: HTMLCanvasElement; range: HTMLElement }>();

  constructor() {
    this.root.append(this.heading, this.rows);
  }

  draw(run: Shown, axis: TimeAxis, layer: number, theme: Theme): void {
    const { model, forward } = run;
    const { cell } = model.description;
    const { H, layerCount } = model.network;
    const where = layerCount > 1 ? `, layer ${layer + 1} of ${layerCount}` : "";
    this.heading.textContent = `Inside ${model.name}${where}: ${cell.equations}; one row a unit, ${H} units`;
    const tape = forward.tape.layers[layer]!;
    const height = Math.max(SHORT, Math.min(TALL, 2 * H));
    const shown: HTMLElement[] = [];
    for (const state of cell.states) {
      const values = state === "h" ? tape.h : tape.c!;
      const curve = state === "h" ? cell.curve : null;
      shown.push(this.map(state, STATES[state] ?? state, axis, height, pictureOf(values, H, H, H, curve, theme), theme));
    }
    for (const gate of cell.gates) {
      const stride = model.network.cell.slots * H;
      const picture = pictureOf(tape.slots, gate.slot * H, stride, H, gate.curve, theme);
      shown.push(this.map(gate.name, gate.words, axis, height, picture, theme));
    }
    this.rows.replaceChildren(...shown);
  }

  private map(name: string, words: string, axis: TimeAxis, height: number, picture: Picture, theme: Theme): HTMLElement {
    let found = this.maps.get(name);
    if (!found) {
      const canvas = element("canvas");
      const range = element("span", { class: "range" });
      const label = element("div", { class: "map-name" }, element("b", { text: name }), element("span", { class: "words" }), range);
      found = { row: element("div", { class: "map" }, label, canvas), canvas, range };
      this.maps.set(name, found);
    }
    found.row.querySelector(".words")!.textContent = words;
    found.range.textContent = `${number(picture.low)} to ${number(picture.high)}`;
    found.canvas.setAttribute("role", "img");
    found.canvas.setAttribute("aria-label", `${words} ${name} of each unit at each step, ${found.range.textContent}`);
    drawMap(found.canvas, axis, height, picture, theme);
    return found.row;
  }
}

/** Shares have fixed limits, 0 to 1; what may be negative is drawn around 0. */
function pictureOf(values: Float32Array, start: number, stride: number, H: number,
                   curve: "sigmoid" | "tanh" | "relu" | null, theme: Theme): Picture {
  const rest = { values, start, stride, H };
  if (curve === "sigmoid") return { ...rest, table: theme.share, low: 0, high: 1 };
  if (curve === "tanh") return { ...rest, table: theme.signed, low: -1, high: 1 };
  let largest = 0;
  for (let at = start; at < values.length; at += stride) {
    for (let u = 0; u < H; u++) {
      const size = Math.abs(values[at + u]!);
      if (size > largest && Number.isFinite(size)) largest = size;
    }
  }
  largest ||= 1;
  return { ...rest, table: theme.signed, low: -largest, high: largest };
}
