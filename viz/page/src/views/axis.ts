/** The time axis that all views of the timeline share. One column is one step; a last one is for what comes next. */
import type { Theme } from "./theme";
import { prepare } from "./canvas";
import { visible } from "./words";

/** Left of the first step, for names and numbers; in pixels of the page. */
export const GUTTER = 144;
const MARGIN = 14;
const WIDEST = 18;
const READABLE = 8;

export class TimeAxis {
  constructor(
    readonly width: number,
    readonly T: number,
  ) {}

  get plotWidth(): number {
    return Math.max(1, this.width - GUTTER - MARGIN);
  }

  /** Of one step. */
  get step(): number {
    return Math.min(WIDEST, this.plotWidth / (this.T + 1));
  }

  /** Where the column of a step begins, from the left of the timeline. */
  left(step: number): number {
    return GUTTER + step * this.step;
  }

  middle(step: number): number {
    return this.left(step + 0.5);
  }

  /** The step at a distance from the left, from 0 to T. */
  stepAt(x: number): number {
    return Math.max(0, Math.min(this.T, Math.floor((x - GUTTER) / this.step)));
  }

  /** Draws the symbols, where there is room for them, or numbers of steps. */
  draw(canvas: HTMLCanvasElement, symbols: string[] | null, marks: Map<number, boolean>, theme: Theme): void {
    const { context } = prepare(canvas, this.width, 26);
    for (const [step, on] of marks) if (step < this.T) this.drawMark(context, this.middle(step), on, theme);
    context.textBaseline = "middle";
    context.fillStyle = theme.muted;
    context.textAlign = "right";
    context.fillText(symbols && this.step >= READABLE ? "symbol" : "step", GUTTER - 12, 10);
    context.textAlign = "center";
    if (symbols && this.step >= READABLE) {
      context.font = "13px ui-monospace, monospace";
      context.fillStyle = theme.text;
      symbols.forEach((symbol, step) =>
        context.fillText(visible(symbol).slice(0, 2), this.middle(step), 10, this.step),
      );
      context.fillStyle = theme.muted;
      context.fillText("?", this.middle(this.T), 10);
      return;
    }
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n * this.step >= 44) ?? 1000;
    for (let step = 0; step < this.T; step += every) context.fillText(String(step), this.middle(step), 10);
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
