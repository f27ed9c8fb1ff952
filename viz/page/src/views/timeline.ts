/** All pictures that share the time axis, and what the mouse and the keyboard do to them. */
import type { Session } from "../session";
import { GUTTER, TimeAxis, Zoom } from "./axis";
import { element, prepare } from "./canvas";
import { CellView } from "./cell";
import { Details } from "./details";
import { Lanes } from "./lanes";
import { drawLines, type Line } from "./lines";
import { drawColours } from "./maps";
import { Points } from "./points";
import { Readout } from "./readout";
import { Search } from "./search";
import type { Selection } from "./selection";
import { DASHES, type Theme } from "./theme";
import { Unrolled } from "./unrolled";
import { named } from "./words";

const CHART = 104;
/** Milliseconds that the play button stays at a step. */
const PACE = 140;
const CLOSER = 1.6;

/** What the timeline asks of the page. */
export interface Wishes {
  look(step: number | null): void;
  /** Something is drawn otherwise, but nothing is computed. */
  redraw(): void;
  /** Only the cursor has moved. */
  moved(): void;
  /** The reader moves something: what is computed meanwhile has to wait. */
  busy(): void;
  /** A number of the input is another one now. */
  edit(step: number, column: number, value: number): void;
}

export class Timeline {
  readonly root = element("div", { class: "timeline" });
  readonly zoom = new Zoom();
  private readonly lanes: Lanes;
  readonly details: Details;
  private readonly search: Search;
  private readonly readout = new Readout();
  private readonly cell: CellView;
  private readonly unrolled: Unrolled;
  private readonly symbols = element("canvas", { class: "symbols-axis" });
  private readonly points: Points | null;
  private readonly flow = element("canvas", { class: "chart" });
  private readonly loss = element("canvas", { class: "chart" });
  private readonly scale = element("canvas", { class: "scale" });
  private readonly cellTitle = element("span");
  private readonly play = button("▶ play", () => this.playing(this.timer === 0));
  private readonly cursorLine = element("div", { class: "cursor" });
  private readonly targetLine = element("div", { class: "target-line" });
  private axis = new TimeAxis(600, 0);
  private timer = 0;
  /** Where the mouse was pressed, while it is. */
  private grip: { x: number; moved: boolean } | null = null;

  constructor(
    private readonly session: Session,
    private readonly selection: Selection,
    private readonly wishes: Wishes,
  ) {
    this.lanes = new Lanes(session, (run) => {
      selection.focus = run;
      wishes.redraw();
    });
    label(this.scale, "Colours from a ten-thousandth to all of the largest gradient");
    this.details = new Details(() => wishes.redraw());
    this.search = new Search(
      session,
      () => wishes.redraw(),
      (unit, what) => {
        if (what === "pin") selection.pin(unit);
        else selection.unit = selection.unit === unit ? null : unit;
        wishes.redraw();
      },
    );
    this.cell = new CellView((unit) => {
      selection.unit = unit;
      wishes.redraw();
    });
    this.unrolled = new Unrolled((step) => this.hold(step));
    this.points = session.page.description.symbols ? null : new Points(session, wishes.edit);
    this.build();
    this.listen();
  }

  // ------------------------------------------------------------ building

  private build(): void {
    const { models } = this.session.page;
    const far = models.some(({ network }) => network.directions === 2) ? "How far" : "How far back";
    const loss = models.some((model) => model.hasLoss) ? "loss" : "sum of outputs";
    const back = models.some((model) => model.network.cell.states === 2) ? ": ∂L/∂h, below it ∂L/∂c" : ": ∂L/∂h";
    const legend = element("span", { class: "legend" }, "10⁻⁴ ", this.scale, " 1 of the largest, ▏1 % at the input");
    const moves = element("span", { class: "modes" }, this.play);
    for (const [text, words, factor] of [
      ["+", "Zoom in", CLOSER],
      ["−", "Zoom out", 1 / CLOSER],
      ["all", "Show all steps", 0],
    ] as const) {
      const made = button(text, () => this.zoomed(factor));
      made.setAttribute("aria-label", words);
      made.title = words;
      moves.append(made);
    }
    if (this.points) {
      const title = "Input: the columns of the rows. Drag a point to change it";
      this.root.append(panel(title, null, this.points.canvas));
    }
    const heading = element("span", { class: "tools" }, legend, moves);
    this.root.append(
      panel(`${far} the gradient of that ${loss} gets${back}`, heading, this.symbols, this.lanes.root),
      panel("Size of that gradient, ‖∂L/∂h‖, at every step", null, this.flow),
    );
    const ofLabels = models.every((model) => model.predictsLabel || !model.hasLoss);
    const title = ofLabels ? "Loss of the label at every step" : "Loss: how surprising each step was";
    if (this.session.hasLosses) this.root.append(panel(`${title}, in nats`, null, this.loss));
    const cell = element("section", { class: "panel inside" });
    cell.append(
      element("h2", {}, this.cellTitle, element("label", { class: "legend" }, "numbers: ", this.cell.picker)),
      element("div", { class: "inside-columns" }, this.cell.root, this.readout.root),
      this.unrolled.root,
    );
    this.root.append(cell, this.search.root, this.details.root, this.targetLine, this.cursorLine);
    this.root.tabIndex = 0;
    this.root.setAttribute("role", "group");
    this.root.setAttribute(
      "aria-label",
      "Timeline. Left and right move the cursor; Enter looks at the step under it; P plays; Z and X zoom in and out; " +
        "+ and − mark the step for the search.",
    );
  }

  private listen(): void {
    const { root, selection } = this;
    root.addEventListener("pointerdown", (event) => {
      if (event.target !== this.points?.canvas) this.grip = { x: event.clientX, moved: false };
    });
    root.addEventListener("pointermove", (event) => this.pointed(event));
    root.addEventListener("pointerleave", () => {
      this.grip = null;
      this.hover(null);
      this.details.tell(null, null);
    });
    root.addEventListener("click", (event) => this.clicked(event));
    root.addEventListener(
      "wheel",
      (event) => {
        const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
        const at = this.stepUnder(event) ?? selection.cursor ?? this.session.target;
        if (event.ctrlKey) this.zoom.by(event.deltaY < 0 ? CLOSER : 1 / CLOSER, at, this.session.T);
        else if (Math.abs(across) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
          this.zoom.pan(across / this.axis.step, this.session.T);
        } else return;
        event.preventDefault();
        this.scheduleDraw();
      },
      { passive: false },
    );
    root.addEventListener("keydown", (event) => this.key(event));
  }

  // ------------------------------------------------------------ mouse and keyboard

  private stepUnder(event: MouseEvent): number | null {
    const x = event.clientX - this.root.getBoundingClientRect().left;
    if (x < GUTTER || this.session.T === 0 || (event.target as Element).closest(".inside")) return null;
    return this.axis.stepAt(x);
  }

  private pointed(event: PointerEvent): void {
    if (this.grip && event.buttons === 1) {
      const moved = event.clientX - this.grip.x;
      if (this.grip.moved || Math.abs(moved) > 5) {
        this.zoom.pan(-moved / this.axis.step, this.session.T);
        this.grip = { x: event.clientX, moved: true };
        this.scheduleDraw();
        return;
      }
    }
    const step = this.stepUnder(event);
    this.hover(step);
    this.details.tell(this.details.unitUnder(event), step);
  }

  private clicked(event: MouseEvent): void {
    const dragged = this.grip?.moved;
    this.grip = null;
    const step = this.stepUnder(event);
    if (dragged || step === null || (event.target as Element).closest("button, select")) return;
    if (this.search.mode !== "look") return this.mark(step, this.search.mode === "on");
    const place = this.details.unitUnder(event);
    if (place) {
      this.selection.unit = place.unit;
      this.selection.held = Math.min(step, this.session.T - 1);
      this.wishes.redraw();
    } else this.wishes.look(step < this.session.T - 1 ? step : null);
  }

  private key(event: KeyboardEvent): void {
    if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.selection.cursor ?? this.session.target;
    const moves: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      PageUp: at - 10,
      PageDown: at + 10,
      Home: 0,
      End: this.session.T,
    };
    if (event.key in moves) this.hold(moves[event.key]!);
    else if (event.key === "Enter" || event.key === " ") this.wishes.look(at < this.session.T - 1 ? at : null);
    else if (event.key === "+" || event.key === "-") this.mark(at, event.key === "+");
    else if (event.key === "p") this.playing(this.timer === 0);
    else if (event.key === "z" || event.key === "x") this.zoomed(event.key === "z" ? CLOSER : 1 / CLOSER);
    else if (event.key === "Escape") this.hold(null);
    else return;
    event.preventDefault();
  }

  private hover(step: number | null): void {
    if (step === this.selection.hover) return;
    this.selection.hover = step;
    this.wishes.moved();
  }

  /** Goes to a step, and stays there. */
  hold(step: number | null): void {
    const { selection, session } = this;
    selection.hover = null;
    selection.held = step === null ? null : Math.max(0, Math.min(session.T, step));
    if (selection.held === null || this.axis.count > session.T) return this.wishes.moved();
    const { first } = this.zoom.within(session.T);
    this.zoom.show(selection.held, session.T);
    if (first === this.zoom.within(session.T).first) this.wishes.moved();
    else this.wishes.redraw();
  }

  private mark(step: number, on: boolean): void {
    this.session.mark(step, on);
    this.wishes.redraw();
  }

  private zoomed(factor: number): void {
    const { T, target } = this.session;
    if (factor === 0) this.zoom.count = Infinity;
    else this.zoom.by(factor, this.selection.cursor ?? target, T);
    this.wishes.redraw();
  }

  /** Moves the cursor from step to step, from the beginning if it is at the end. */
  private playing(on: boolean): void {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = on ? "❚❚ stop" : "▶ play";
    if (!on) return;
    const { selection, session } = this;
    if ((selection.held ?? session.T) >= session.T - 1) this.hold(0);
    this.timer = window.setInterval(() => {
      if (selection.held === null || selection.held >= session.T - 1) return this.playing(false);
      this.hold(selection.held + 1);
    }, PACE);
  }

  // ------------------------------------------------------------ drawing

  private waiting = 0;
  private theme: Theme | null = null;

  private scheduleDraw(): void {
    this.wishes.busy();
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (this.theme) this.draw(this.theme);
    });
  }

  draw(theme: Theme): void {
    const { session, selection } = this;
    this.theme = theme;
    if (session.runs.length === 0) return;
    const axis = new TimeAxis(this.root.clientWidth, session.T, this.zoom);
    this.axis = axis;
    const run = session.runs[selection.focus]!;
    const part = selection.partOf(run);
    const { context } = prepare(this.scale, 72, 9);
    drawColours(context, theme.size, 0, 0, 72, 9);
    const next = session.runs.some(({ model }) => model.predictsNext);
    axis.draw(this.symbols, session.input.symbols, next, session.marks, theme);
    this.lanes.draw(axis, selection, theme);
    const frame = { width: axis.width, height: CHART, left: GUTTER, x: (i: number) => axis.middle(i), shown: axis.shown };
    this.points?.draw(axis, theme);
    const flow = (index: number): Float64Array => session.runs[index]!.flow[selection.partOf(session.runs[index]!)]!.h;
    drawLines(this.flow, linesOf(session, selection, theme, flow), { ...frame, logarithmic: true }, theme);
    label(this.flow, "Norm of the gradient of h at each step, logarithmic, for each network");
    const losses = linesOf(session, selection, theme, (index) => session.runs[index]!.losses);
    drawLines(this.loss, losses, { ...frame, logarithmic: false }, theme);
    label(this.loss, "Loss of each step for each network");
    this.details.draw(run, axis, part, theme);
    this.search.draw(run, selection, axis, theme);
    this.drawCursor(theme);
  }

  drawCursor(theme: Theme): void {
    const { session, axis, selection } = this;
    const place = (line: HTMLElement, step: number | null): void => {
      line.hidden = step === null || session.T === 0 || !axis.holds(step);
      if (step !== null) line.style.transform = `translateX(${axis.left(step)}px)`;
      line.style.width = `${Math.max(1, axis.step)}px`;
    };
    place(this.targetLine, session.T > 0 && session.movable ? session.target : null);
    place(this.cursorLine, selection.cursor);
    const run = session.runs[selection.focus]!;
    const direction = selection.directionOf(run);
    const step = Math.min(selection.cursor ?? run.ways[direction]!.origin, session.T - 1);
    const part = selection.partOf(run);
    const words = step < 0 ? "" : ` at step ${step}${named(session.input.symbols, step)}`;
    const way = run.ways.length === 1 ? "" : direction === 1 ? ", reverse," : ", forward,";
    this.cellTitle.textContent = `Inside ${run.model.name}${way}${words}`;
    this.cell.draw(run, part, step, selection.unit, theme);
    this.unrolled.draw(run, direction, Math.max(0, step), session.input.symbols, theme);
    this.readout.draw(session, step, selection);
  }
}

/** One line for each network. */
export function linesOf(
  session: Session,
  selection: Selection,
  theme: Theme,
  values: (index: number) => ArrayLike<number>,
): Line[] {
  return session.runs.map((_, index) => ({
    values: values(index),
    colour: theme.runs[index % theme.runs.length]!,
    dash: DASHES[index % DASHES.length]!,
    focused: index === selection.focus,
  }));
}

export function label(canvas: HTMLCanvasElement, words: string): void {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", words);
}

export function button(text: string, press: () => void): HTMLButtonElement {
  const made = element("button", { text });
  made.type = "button";
  made.addEventListener("click", press);
  return made;
}

export function panel(title: string, legend: Node | null, ...children: Node[]): HTMLElement {
  const heading = element("h2", {}, title);
  if (legend) heading.append(legend);
  return element("section", { class: "panel" }, heading, ...children);
}
