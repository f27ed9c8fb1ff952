/** States and gates of one layer of one run, as maps on the time axis. */
import type { LayerTape } from "../engine/network";
import type { CellDescription } from "../payload";
import type { Shown } from "../session";
import type { TimeAxis } from "./axis";
import { element } from "./canvas";
import { valuesOf } from "./cell";
import { drawMap, type Picture } from "./maps";
import { alike, slowestFirst } from "./order";
import type { Theme } from "./theme";
import { equation, number } from "./words";

const STATES: Record<string, string> = { h: "hidden state", c: "cell state" };
const [SHORT, TALL] = [40, 128];

export class Details {
  readonly root = element("section", { class: "panel details" });
  private readonly title = element("span");
  private readonly count = element("span");
  private readonly rows = element("div");
  readonly order = element("select");
  private readonly value = element("span", { class: "value" });
  private shown: { run: Shown; layer: number; by: string; order: number[] } | null = null;
  private readonly maps = new Map<
    string,
    { row: HTMLElement; canvas: HTMLCanvasElement; words: HTMLElement; range: HTMLElement }
  >();

  constructor(changed: () => void) {
    this.order.append(
      new Option("slowest unit first", "slow"),
      new Option("units that act alike together", "alike"),
      new Option("by number", "number"),
    );
    this.order.setAttribute("aria-label", "Order of the units");
    this.order.addEventListener("change", changed);
    const legend = element("span", { class: "legend" }, this.value, this.count, this.order);
    this.root.append(element("h2", {}, this.title, legend), this.rows);
  }

  draw(run: Shown, axis: TimeAxis, layer: number, theme: Theme): void {
    const { model, forward } = run;
    const { cell } = model.description;
    const { H, layerCount } = model.network;
    const where = layerCount > 1 ? `, layer ${layer + 1} of ${layerCount}` : "";
    this.title.textContent = `States and gates of ${model.name}${where}: ${equation(cell)}`;
    this.count.textContent = `${H} units, one a row, `;
    const tape = forward.tape.layers[layer]!;
    const same = this.shown?.run.forward === forward && this.shown.layer === layer && this.shown.by === this.order.value;
    const order = same ? this.shown!.order : this.ordered(tape, cell, model.network.cell.slots, H);
    this.shown = { run, layer, by: this.order.value, order };
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

  private ordered(tape: LayerTape, cell: CellDescription, slots: number, H: number): number[] {
    if (this.order.value === "slow") return slowestFirst(tape, cell, slots, H);
    return this.order.value === "alike" ? alike(tape.h, H) : Array.from({ length: H }, (_, unit) => unit);
  }

  /** The unit of the row under a point of a map, and what it is called; null elsewhere. */
  unitUnder(event: MouseEvent): { name: string; unit: number } | null {
    for (const [name, { canvas }] of this.maps) {
      if (event.target !== canvas || !this.shown) continue;
      const { order } = this.shown;
      const row = Math.floor((event.offsetY / canvas.clientHeight) * order.length);
      return { name, unit: order[Math.max(0, Math.min(order.length - 1, row))]! };
    }
    return null;
  }

  /** Says the value under the mouse, or nothing. */
  tell(place: { name: string; unit: number } | null, step: number | null): void {
    this.value.textContent = "";
    if (!place || step === null || !this.shown || step >= this.shown.run.forward.T) return;
    const { run, layer } = this.shown;
    const { gates } = run.model.description.cell;
    const tape = run.forward.tape.layers[layer]!;
    const values = valuesOf(tape, place.name, step, run.model.network.H, run.model.network.cell.slots, gates);
    this.value.textContent = `unit ${place.unit}, step ${step}: ${place.name} = ${number(values[place.unit]!)}`;
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
