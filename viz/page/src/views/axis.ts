/** The time axis that all views of the timeline share. One column is one step; a last one is for what comes next. */
import type { Theme } from "./theme";
import { prepare } from "./canvas";
import { visible } from "./words";

/** Left of the first step, for names and numbers; in pixels of the page. */
export const GUTTER = 144;
const MARGIN = 14;
const WIDEST = 18;
const READABLE = 8;

/** As many steps are shown at least. */
const FEWEST = 8;

/** Which steps are shown, from the first: all of them, or a part. */
export class Zoom {
  first = 0;
  /** Infinity: all. */
  count = Infinity;

  /** Of T steps, and the one that comes next. */
  within(T: number): { first: number; count: number } {
    const count = Math.min(this.count, T + 1);
    return { first: Math.max(0, Math.min(this.first, T + 1 - count)), count };
  }

  /** By a factor above 1 closer, below 1 further away; the step `at` stays in its place. */
  by(factor: number, at: number, T: number): void {
    const { first, count } = this.within(T);
    const next = Math.max(FEWEST, count / factor);
    this.count = next >= T + 1 ? Infinity : next;
    this.first = at - ((at - first) / count) * Math.min(next, T + 1);
    this.first = this.within(T).first;
  }

  pan(steps: number, T: number): void {
    this.first = this.within(T).first + steps;
    this.first = this.within(T).first;
  }

  /** Moves as far as needed for a step to be shown. */
  show(step: number, T: number): void {
    const { first, count } = this.within(T);
    if (step < first + 1) this.first = step - 1;
    else if (step > first + count - 2) this.first = step - count + 2;
    this.first = this.within(T).first;
  }
}

export class TimeAxis {
  /** The first step that is shown, which may be a fraction, and how many are. */
  readonly first: number;
  readonly count: number;
  readonly plotWidth: number;
  /** The width of one step. */
  readonly step: number;

  constructor(
    readonly width: number,
    readonly T: number,
    zoom: Zoom = new Zoom(),
  ) {
    ({ first: this.first, count: this.count } = zoom.within(T));
    this.plotWidth = Math.max(1, width - GUTTER - MARGIN);
    this.step = Math.min(WIDEST, this.plotWidth / this.count);
  }

  /** Where the column of a step begins, from the left of the timeline. */
  left(step: number): number {
    return GUTTER + (step - this.first) * this.step;
  }

  middle(step: number): number {
    return this.left(step + 0.5);
  }

  /** The step at a distance from the left, from 0 to T. */
  stepAt(x: number): number {
    return Math.max(0, Math.min(this.T, Math.floor(this.first + (x - GUTTER) / this.step)));
  }

  /** The steps that are at least partly shown: from the first of them to the one after the last. */
  get shown(): [number, number] {
    const last = Math.min(this.T, Math.ceil(this.first + this.plotWidth / this.step));
    return [Math.min(Math.floor(this.first), last), last];
  }

  /** Whether all of a step's column is shown. */
  holds(step: number): boolean {
    return this.left(step) >= GUTTER - 1 && this.left(step + 1) <= this.width;
  }

  /** Draws the symbols, where there is room for them, or numbers of steps; `next`: and a sign for what comes next. */
  draw(canvas: HTMLCanvasElement, symbols: string[] | null, next: boolean, marks: Map<number, boolean>, theme: Theme): void {
    const { context } = prepare(canvas, this.width, 26);
    for (const [step, on] of marks) if (step < this.T && this.holds(step)) this.drawMark(context, this.middle(step), on, theme);
    context.textBaseline = "middle";
    context.fillStyle = theme.muted;
    context.textAlign = "right";
    context.fillText(symbols && this.step >= READABLE ? "symbol" : "step", GUTTER - 12, 10);
    context.textAlign = "center";
    if (symbols && this.step >= READABLE) {
      context.font = "13px ui-monospace, monospace";
      context.fillStyle = theme.text;
      const [first, last] = this.shown;
      for (let step = first; step < last; step++) {
        if (this.holds(step)) context.fillText(visible(symbols[step]!).slice(0, 2), this.middle(step), 10, this.step);
      }
      context.fillStyle = theme.muted;
      if (next && this.holds(this.T)) context.fillText("?", this.middle(this.T), 10);
      return;
    }
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n * this.step >= 44) ?? 1000;
    for (let step = 0; step < this.T; step += every) {
      if (this.holds(step)) context.fillText(String(step), this.middle(step), 10);
    }
  }

  /** A filled triangle that points up for "on", an empty one that points down for "off". */
  private drawMark(context: CanvasRenderingContext2D, x: number, on: boolean, theme: Theme): void {
    const [top, bottom] = on ? [19, 25] : [25, 19];
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x + 4, bottom);
    context.lineTo(x - 4, bottom);
    context.closePath();
    context.fillStyle = context.strokeStyle = theme.accent;
    if (on) context.fill();
    else context.stroke();
  }
}
