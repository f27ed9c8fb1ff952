/** Rows of numbers as lines, whose points the reader drags. */
import type { Session } from "../session";
import { GUTTER, type TimeAxis } from "./axis";
import { element } from "./canvas";
import { drawLines, type Line } from "./lines";
import { DASHES, type Theme } from "./theme";

const HEIGHT = 104;
/** Columns are drawn if each has dashes of its own; a point has a dot where there is room for it. */
const MOST = DASHES.length;
const ROOM = 5;

export class Points {
  readonly canvas = element("canvas", { class: "chart points" });
  private axis: TimeAxis | null = null;
  private valueAt: (y: number) => number = () => NaN;
  /** The point that is dragged, and the scale that it was taken from, which would run away from the mouse. */
  private held: { step: number; column: number; valueAt: (y: number) => number } | null = null;

  constructor(
    private readonly session: Session,
    edit: (step: number, column: number, value: number) => void,
  ) {
    const { canvas } = this;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The input: one line for each of the first columns");
    canvas.addEventListener("pointerdown", (event) => {
      this.held = this.nearest(event);
      if (this.held) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.held) return;
      event.stopPropagation();
      const { step, column, valueAt } = this.held;
      edit(step, column, Number(valueAt(event.offsetY).toPrecision(3)));
    });
    canvas.addEventListener("pointerup", () => (this.held = null));
    canvas.addEventListener("pointercancel", () => (this.held = null));
    canvas.addEventListener("click", (event) => event.stopPropagation());
  }

  private get width(): number {
    return this.session.page.models[0]!.network.I;
  }

  private nearest(event: PointerEvent): Points["held"] {
    const { sequence } = this.session.input;
    if (!this.axis || !("rows" in sequence) || event.offsetX < GUTTER) return null;
    const step = this.axis.stepAt(event.offsetX);
    if (step >= this.session.T) return null;
    const value = this.valueAt(event.offsetY);
    const distance = (column: number): number => Math.abs(sequence.rows[step * this.width + column]! - value);
    let column = 0;
    for (let other = 1; other < Math.min(this.width, MOST); other++) {
      if (distance(other) < distance(column)) column = other;
    }
    return { step, column, valueAt: this.valueAt };
  }

  /** The networks have their colours, so these lines have none. */
  draw(axis: TimeAxis, theme: Theme): void {
    this.axis = axis;
    const { sequence } = this.session.input;
    if (!("rows" in sequence)) return;
    const { width } = this;
    const lines = Array.from({ length: Math.min(width, MOST) }, (_, column): Line => ({
      values: sequence.rows.filter((_, i) => i % width === column),
      colour: theme.text,
      dash: DASHES[column]!,
      focused: false,
      dots: axis.step >= ROOM,
    }));
    const x = (i: number): number => axis.middle(i);
    const frame = { width: axis.width, height: HEIGHT, left: GUTTER, x, logarithmic: false, shown: axis.shown };
    this.valueAt = drawLines(this.canvas, lines, frame, theme);
  }
}
