/** States and gates of one layer of one run, as maps on the time axis. */
import { lowerEnd } from "../diagnosis";
import type { Network, PartTape } from "../engine/network";
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
  private shown: { run: Shown; part: number; by: string; order: number[] } | null = null;
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

  draw(run: Shown, axis: TimeAxis, part: number, theme: Theme): void {
    const { model, forward } = run;
    const { cell } = model.description;
    const { H, P, layerCount, directions, cell: kernel } = model.network;
    const tape = forward.tape.parts[part]!;
    const where = [
      layerCount > 1 ? `, layer ${Math.floor(part / directions) + 1} of ${layerCount}` : "",
      directions > 1 ? `, ${tape.reverse ? "reverse" : "forward"}` : "",
    ].join("");
    this.title.textContent = `States and gates of ${model.name}${where}: ${equation(cell, tape.reverse)}`;
    this.count.textContent = `${H} units, one a row, `;
    const same = this.shown?.run.forward === forward && this.shown.part === part && this.shown.by === this.order.value;
    const order = same ? this.shown!.order : this.ordered(tape, cell, model.network);
    this.shown = { run, part, by: this.order.value, order };
    const height = (rows: number): number => Math.max(SHORT, Math.min(TALL, 2 * rows));
    const shown: HTMLElement[] = [];
    for (const state of cell.states) {
      const projected = state === "h" && P < H; // its values belong to no units
      const rows = projected ? Array.from({ length: P }, (_, value) => value) : order;
      const curve = state === "h" && !projected ? cell.curve : null;
      const words = `${STATES[state] ?? state}${projected ? `, projected to ${P}` : ""}`;
      const picture = pictureOf(state === "h" ? tape.h : tape.c!, 0, rows.length, rows, curve, theme);
      shown.push(this.map(state, words, axis, height(rows.length), picture, theme));
    }
    for (const gate of cell.gates) {
      const picture = pictureOf(tape.slots, gate.slot * H, kernel.slots * H, order, gate.curve, theme);
      shown.push(this.map(gate.name, gate.words, axis, height(H), picture, theme));
    }
    this.rows.replaceChildren(...shown);
  }

  private ordered(tape: PartTape, cell: CellDescription, network: Network): number[] {
    const { H, P, cell: kernel } = network;
    if (this.order.value === "slow") return slowestFirst(tape, cell, kernel.slots, H);
    if (this.order.value === "alike") return alike(P < H ? tape.c! : tape.h, H);
    return Array.from({ length: H }, (_, unit) => unit);
  }

  /** The unit of the row under a point of a map, and what it is called; null elsewhere. */
  unitUnder(event: MouseEvent): { name: string; unit: number } | null {
    for (const [name, { canvas }] of this.maps) {
      if (event.target !== canvas || !this.shown) continue;
      const { order, run } = this.shown;
      if (name === "h" && run.model.network.P < order.length) return null;
      const row = Math.floor((event.offsetY / canvas.clientHeight) * order.length);
      return { name, unit: order[Math.max(0, Math.min(order.length - 1, row))]! };
    }
    return null;
  }

  /** Says the value under the mouse, or nothing. */
  tell(place: { name: string; unit: number } | null, step: number | null): void {
    this.value.textContent = "";
    if (!place || step === null || !this.shown || step >= this.shown.run.forward.T) return;
    const { run, part } = this.shown;
    const { H, P, cell } = run.model.network;
    const { gates } = run.model.description.cell;
    const tape = run.forward.tape.parts[part]!;
    const values = valuesOf(tape, place.name, step, { H, P, slots: cell.slots }, gates);
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
  curve: string | null,
  theme: Theme,
): Picture {
  const rest = { values, start, stride, order };
  const end = lowerEnd(curve);
  if (end === 0) return { ...rest, table: theme.share, low: 0, high: 1 };
  if (end === -1) return { ...rest, table: theme.signed, low: -1, high: 1 };
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
