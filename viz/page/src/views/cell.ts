/** One step of a cell as a diagram: its values at the cursor, and the gradient of the loss that flows back through it. */
import { lowerEnd } from "../diagnosis";
import type { PartGradients, PartTape } from "../engine/network";
import type { Shown } from "../session";
import { element, prepare } from "./canvas";
import { drawColours } from "./maps";
import { logShare, lookUp, type Theme } from "./theme";
import { number, percent } from "./words";

/** Of the sheet of viz/plots/_sheet.py, which is 11.4 units wide. */
const LEFT = -0.2;
const UNITS = 11.4;
const [BOX, TALL, STRIP] = [1.3, 1.25, 0.32];
/** Pixels of one unit of height; above the sheet there is room for the gradient on its way back. */
const RISE = 40;
const ROOM = 0.5;
const NODE = 10;

type Values = (name: string) => Float32Array;
type Context = CanvasRenderingContext2D;

export class CellView {
  readonly root = element("div", { class: "cell" });
  readonly picker = element("select");
  private readonly canvas = element("canvas");
  private readonly told = element("p", { class: "note" });
  private units = -1;

  constructor(changed: (unit: number | null) => void) {
    this.canvas.setAttribute("role", "img");
    this.picker.setAttribute("aria-label", "Which unit the cell shows");
    this.picker.addEventListener("change", () => changed(this.picker.value === "" ? null : Number(this.picker.value)));
    this.root.append(this.canvas, this.told);
  }

  draw(run: Shown, part: number, step: number, unit: number | null, theme: Theme): void {
    const { model, forward, gradients } = run;
    const { H, P, cell } = model.network;
    const shown = unit !== null && unit < H ? unit : null;
    this.offer(H, shown);
    if (step < 0) return;
    const tape = forward.tape.parts[part]!;
    const picture = new Picture(
      prepare(this.canvas, Math.max(1, this.root.clientWidth), this.height(run)).context,
      Math.max(1, this.root.clientWidth),
      run,
      tape.reverse,
      (name) => valuesOf(tape, name, step, { H, P, slots: cell.slots }, model.description.cell.gates),
      shown,
      theme,
    );
    picture.draw(gradients.parts[part]!, step);
    this.told.textContent =
      `${sentence(run, picture.mean, shown, H)} ${P < H ? `h is their projection to ${P} values. ` : ""}` +
      (shown === null
        ? "Black: means over the units. Strips: all units. Orange: the norm of the gradient, on its way back."
        : "Strips: all units, this one framed. Orange: its gradient, on its way back.");
    this.canvas.setAttribute("aria-label", `${model.name} at step ${step}: ${picture.inWords()}`);
  }

  private height(run: Shown): number {
    const { low, high } = run.model.description.cell.diagram;
    return (high - low + ROOM) * RISE;
  }

  private offer(H: number, shown: number | null): void {
    if (this.units !== H) {
      this.units = H;
      this.picker.replaceChildren(new Option(`mean of ${H} units`, ""));
      for (let unit = 0; unit < H; unit++) this.picker.append(new Option(`unit ${unit}`, String(unit)));
    }
    this.picker.value = shown === null ? "" : String(shown);
  }
}

/** One drawing of one step. */
class Picture {
  private readonly wide: number;
  private readonly high: number;

  constructor(
    private readonly context: Context,
    width: number,
    private readonly run: Shown,
    private readonly reverse: boolean,
    private readonly values: Values,
    private readonly unit: number | null,
    private readonly theme: Theme,
  ) {
    this.wide = width / UNITS;
    this.high = run.model.description.cell.diagram.high + ROOM;
  }

  /** The number in a box: the value of the unit that is shown, or the mean of all. */
  readonly mean = (name: string): number => {
    const values = this.values(name);
    const unit = this.unitOf(name);
    return unit === null ? meanOf(values) : values[unit]!;
  };

  /** The unit of a value that is shown; null: the mean is. The values of a projected h belong to no units. */
  private unitOf(name: string): number | null {
    const { H, P } = this.run.model.network;
    return P < H && name.startsWith("h") ? null : this.unit;
  }

  /** In the reverse direction the step before is the one at t + 1. */
  private directed(text: string): string {
    return this.reverse ? text.replaceAll("ₜ₋₁", "ₜ₊₁") : text;
  }

  private beginning(): string {
    return this.reverse ? "the sequence ends here" : "the sequence begins here";
  }

  inWords(): string {
    return this.boxes()
      .map(([, , , name, text]) => `${this.directed(text)} ${number(this.mean(name))}`)
      .join(", ");
  }

  draw(gradients: PartGradients, step: number): void {
    const { parts } = this.run.model.description.cell.diagram;
    for (const part of parts) if (part[0] === "belt") this.belt(part[1]);
    for (const part of parts) if (part[0] === "arrow" || part[0] === "path") this.line(part);
    for (const part of parts) {
      if (part[0] === "box") this.box(part[1], part[2], part[3], part[4]);
      else if (part[0] === "node") this.node(part[1], part[2], part[3]);
      else if (part[0] === "note") this.note(part[3], part[1], part[2], part[4]);
      else if (part[0] === "framed") this.framed(part[1], part[2], part[3]);
    }
    this.gradients(gradients, step);
  }

  /** What is written to the right of its place does not reach the line of the gradient. */
  private note(text: string, x: number, y: number, align: CanvasTextAlign): void {
    const most = align === "left" ? (10.2 - x) * this.wide : undefined;
    this.text(text, x, y, align, this.theme.muted, "12px", most);
  }

  private boxes(): ["box", number, number, string, string][] {
    return this.run.model.description.cell.diagram.parts.filter((part) => part[0] === "box");
  }

  private x(x: number): number {
    return (x - LEFT) * this.wide;
  }

  private y(y: number): number {
    return (this.high - y) * RISE;
  }

  private text(text: string, x: number, y: number, align: CanvasTextAlign, colour: string, font = "12px", most?: number): void {
    const { context } = this;
    context.font = `${font} system-ui, sans-serif`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillStyle = colour;
    context.fillText(this.directed(text), this.x(x), this.y(y), most);
  }

  private belt(y: number): void {
    const { context } = this;
    context.strokeStyle = context.fillStyle = this.theme.belt;
    context.lineWidth = 10;
    context.beginPath();
    context.moveTo(this.x(1.2), this.y(y));
    context.lineTo(this.x(9.5), this.y(y));
    context.stroke();
    head(context, this.x(9.74), this.y(y), this.x(9), this.y(y), 14);
  }

  private line(part: ["arrow" | "path", ...(number | boolean)[]]): void {
    const numbers = part.slice(1, -1) as number[];
    const points = Array.from({ length: numbers.length / 2 }, (_, i): [number, number] => [
      this.x(numbers[2 * i]!),
      this.y(numbers[2 * i + 1]!),
    ]);
    const [end, before] = [points.at(-1)!, points.at(-2)!];
    const length = Math.hypot(end[0] - before[0], end[1] - before[1]);
    if (part.at(-1) && part[0] === "arrow") {
      const share = 1 - NODE / length;
      end[0] = before[0] + share * (end[0] - before[0]);
      end[1] = before[1] + share * (end[1] - before[1]);
    }
    this.stroke(points, this.theme.muted, 1.2, part[0] === "arrow" ? 6 : 0);
  }

  private stroke(points: [number, number][], colour: string, width: number, arrow: number): void {
    const { context } = this;
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.stroke();
    const [end, before] = [points.at(-1)!, points.at(-2)!];
    if (arrow) head(context, ...end, ...before, arrow);
  }

  private node(x: number, y: number, sign: string): void {
    const { context, theme } = this;
    context.beginPath();
    context.arc(this.x(x), this.y(y), NODE, 0, 2 * Math.PI);
    context.fillStyle = theme.surface;
    context.fill();
    context.strokeStyle = theme.muted;
    context.lineWidth = 1.3;
    context.stroke();
    this.text(sign, x, y, "center", theme.text, "16px");
  }

  private framed(x: number, y: number, text: string): void {
    const { context, theme } = this;
    context.font = "12px system-ui, sans-serif";
    const width = context.measureText(text).width + 16;
    this.frame(this.x(x) - width / 2, this.y(y) - 12, width, 24);
    this.text(text, x, y, "center", theme.text);
  }

  private frame(left: number, top: number, width: number, height: number): void {
    const { context, theme } = this;
    context.fillStyle = theme.surface;
    context.fillRect(left, top, width, height);
    context.strokeStyle = theme.muted;
    context.lineWidth = 1;
    context.strokeRect(Math.round(left) + 0.5, Math.round(top) + 0.5, Math.round(width), Math.round(height));
  }

  /** A gate or a state: its name, its number, and a strip with the colours of all units. */
  private box(x: number, y: number, name: string, words: string): void {
    const { context, theme } = this;
    const unit = this.unitOf(name);
    const [left, top] = [this.x(x - BOX / 2), this.y(y + TALL / 2)];
    const [width, height] = [BOX * this.wide, TALL * RISE];
    this.frame(left, top, width, height);
    this.text(words, x, y + 0.3 * TALL, "center", theme.muted, "12px", width - 4);
    this.text(number(this.mean(name)), x, y - 0.03 * TALL, "center", theme.text, "600 13px", width - 6);
    const values = this.values(name);
    const { table, low, high } = this.scale(name, values);
    const foot = top + height - STRIP * RISE;
    const colours = Uint32Array.from(values, (value) => lookUp(table, (value - low) / (high - low)));
    drawColours(context, colours, left + 1, foot, width - 1, STRIP * RISE);
    if (unit === null) return;
    context.strokeStyle = theme.accent;
    context.lineWidth = 2;
    const wide = Math.max(3, width / values.length);
    context.strokeRect(left + ((unit + 0.5) * width) / values.length - wide / 2, foot - 1, wide, STRIP * RISE + 2);
  }

  private scale(name: string, values: Float32Array): { table: Uint32Array; low: number; high: number } {
    const { gates, curve } = this.run.model.description.cell;
    const kind = gates.find((gate) => gate.name === name)?.curve ?? (name.startsWith("h") ? curve : null);
    if (lowerEnd(kind) === 0) return { table: this.theme.share, low: 0, high: 1 };
    const high = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    return { table: this.theme.signed, low: -high, high };
  }

  // ------------------------------------------------------------ the gradient

  private gradients(gradients: PartGradients, step: number): void {
    const { cell } = this.run.model.description;
    const { H, P, cell: kernel } = this.run.model.network;
    const earlier = this.reverse ? step + 1 : step - 1;
    for (const state of cell.states) {
      const [all, width] = state === "c" ? [gradients.c!, H] : [gradients.h, P];
      const at = (t: number): Float32Array => all.subarray(t * width, (t + 1) * width);
      const largest = this.run.flow.reduce(
        (most, flow) => (state === "c" ? flow.c! : flow.h).reduce((m, v) => Math.max(m, v), most),
        0,
      );
      this.back(state, at(step), earlier >= 0 && earlier < this.run.forward.T ? at(earlier) : null, largest);
    }
    for (const [, x, y, name] of this.boxes()) {
      const gate = cell.gates.find((one) => one.name === name);
      if (!gate) continue;
      const from = (step * kernel.slots + gate.slot) * H;
      const size = this.size(gradients.delta.subarray(from, from + H), this.unit);
      this.text(number(size), x + 0.12, y - TALL / 2 - 0.34, "left", this.theme.gradient, "11px");
    }
  }

  /** The norm over units, or the value of one. */
  private size(values: Float32Array, unit: number | null): number {
    return unit === null ? Math.sqrt(values.reduce((sum, v) => sum + v * v, 0)) : values[unit]!;
  }

  /** A line from the state after the step to the state before it, as broad as the gradient is large (log). */
  private back(state: string, after: Float32Array, before: Float32Array | null, largest: number): void {
    const place = (name: string) => this.boxes().find((part) => part[3] === name)!;
    const [, , yAfter] = place(state);
    const [, , yBefore] = place(`${state}0`);
    const norm = Math.sqrt(after.reduce((sum, v) => sum + v * v, 0));
    const width = 0.75 + 4.25 * logShare(norm, largest);
    const level = yAfter === yBefore;
    const y = level ? yAfter + TALL / 2 + 0.12 : 0.78;
    const path: [number, number][] = level
      ? [
          [10.4, yAfter + TALL / 2],
          [10.4, y],
          [0.55, y],
          [0.55, yBefore + TALL / 2],
        ]
      : [
          [10.4, yAfter - TALL / 2],
          [10.4, y],
          [1.2, y],
        ];
    this.stroke(
      path.map(([a, b]): [number, number] => [this.x(a), this.y(b)]),
      this.theme.gradient,
      width,
      level ? 0 : 8,
    );
    const unit = this.unitOf(state);
    const name = unit === null ? `‖∂L/∂${state}` : `∂L/∂${state}`;
    const bar = unit === null ? "‖" : "";
    const words = level ? y + 0.24 : y - 0.3;
    const font = "600 12px";
    this.text(`← ${name}ₜ${bar} ${number(this.size(after, unit))}`, 10.2, words, "right", this.theme.gradient, font);
    const told = before ? `${name}ₜ₋₁${bar} ${number(this.size(before, unit))}` : this.beginning();
    this.text(`← ${told}`, level ? 0.75 : 2, words, "left", this.theme.gradient, font);
  }
}

function head(context: Context, x: number, y: number, fromX: number, fromY: number, size: number): void {
  const angle = Math.atan2(y - fromY, x - fromX);
  context.beginPath();
  context.moveTo(x, y);
  for (const side of [0.42, -0.42]) {
    context.lineTo(x - size * Math.cos(angle + side), y - size * Math.sin(angle + side));
  }
  context.closePath();
  context.fill();
}

/** The values (H,) of a gate or a state at one step; h0 and c0 are the states before it. */
export function valuesOf(
  tape: PartTape,
  name: string,
  step: number,
  { H, P, slots }: { H: number; P: number; slots: number },
  gates: { name: string; slot: number }[],
): Float32Array {
  const gate = gates.find((one) => one.name === name);
  if (gate) {
    const from = (step * slots + gate.slot) * H;
    return tape.slots.subarray(from, from + H);
  }
  const ofC = name.startsWith("c");
  const states = name.endsWith("0") ? (ofC ? tape.cBefore! : tape.hBefore) : ofC ? tape.c! : tape.h;
  const width = ofC ? H : P;
  return states.subarray(step * width, (step + 1) * width);
}

function meanOf(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What the step does, as viz.plot_cell says it in its title. */
function sentence(run: Shown, mean: (name: string) => number, unit: number | null, H: number): string {
  const { keeps, enters } = run.model.description.cell;
  const who = unit === null ? `The ${H} units` : `Unit ${unit}`;
  if (keeps === null && enters === null) {
    return unit === null ? `${who} overwrite their old values: no gate keeps them.` : `${who} overwrites its old value.`;
  }
  const kept = keeps === null ? 1 - mean(enters!) : mean(keeps);
  const taken = enters === null ? 1 - mean(keeps!) : mean(enters);
  const [keep, take] = unit === null ? ["keep on average", "let in"] : ["keeps", "lets in"];
  return `${who} ${keep} ${percent(kept)} of the old and ${take} ${percent(taken)} of the new.`;
}
