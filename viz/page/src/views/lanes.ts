/** One lane for each run: how far the loss looked at depends on h, and on c. */
import type { Session, Shown, Way } from "../session";
import { GUTTER, type TimeAxis } from "./axis";
import { element, prepare } from "./canvas";
import { drawStrip } from "./maps";
import type { Selection } from "./selection";
import { DASHES, logShare, lookUp, type Theme } from "./theme";
import { equation, steps } from "./words";

const HEIGHT = 26;

export class Lanes {
  readonly root = element("div", { class: "lanes" });
  private readonly rows: {
    button: HTMLButtonElement;
    reach: HTMLElement;
    mark: HTMLCanvasElement;
    canvas: HTMLCanvasElement;
  }[];

  constructor(
    private readonly session: Session,
    focus: (run: number) => void,
  ) {
    this.rows = session.page.models.map((model, index) => {
      const mark = element("canvas", { class: "mark" });
      mark.setAttribute("aria-hidden", "true");
      const reach = element("span", { class: "reach" });
      const button = element(
        "button",
        { class: "lane-name" },
        mark,
        element("span", { class: "name", text: model.name }),
        reach,
      );
      button.type = "button";
      button.title = `${model.name}: ${equation(model.description.cell, false)}`;
      button.addEventListener("click", () => focus(index));
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      this.root.append(element("div", { class: "lane" }, button, canvas));
      return { button, reach, mark, canvas };
    });
  }

  draw(axis: TimeAxis, selection: Selection, theme: Theme): void {
    const { session } = this;
    session.runs.forEach((run, index) => {
      const { button, reach, mark, canvas } = this.rows[index]!;
      const colour = theme.runs[index % theme.runs.length]!;
      button.setAttribute("aria-pressed", String(index === selection.focus));
      const way = run.ways[selection.directionOf(run)]!;
      reach.textContent = session.T < 2 ? "" : inWords(way);
      drawMark(mark, colour, DASHES[index % DASHES.length]!);
      const { context } = prepare(canvas, axis.plotWidth, HEIGHT);
      const flow = run.flow[selection.partOf(run)]!;
      const strips = flow.c ? [flow.h, flow.c] : [flow.h];
      const height = HEIGHT / strips.length;
      strips.forEach((values, row) => {
        const largest = values.reduce((most, value) => Math.max(most, value), 0);
        const colours = Uint32Array.from(values, (value) => lookUp(theme.size, logShare(value, largest)));
        drawStrip(context, axis, row * height, height - (row < strips.length - 1 ? 1 : 0), colours);
      });
      this.drawEnd(context, axis, run, way, theme);
      canvas.setAttribute("aria-label", `${run.model.name}: gradient at each step. It reaches ${reach.textContent}.`);
    });
  }

  /** Where the 1 % of the text beside the lane are. */
  private drawEnd(context: CanvasRenderingContext2D, axis: TimeAxis, run: Shown, way: Way, theme: Theme): void {
    const last = way.reverse ? way.origin + way.reach : way.origin - way.reach;
    if (run.forward.T < 2 || !axis.holds(last)) return;
    context.fillStyle = theme.text;
    context.fillRect(axis.left(way.reverse ? last + 1 : last) - GUTTER - 1, 0, 2, HEIGHT);
  }
}

function inWords({ reach, room, reverse }: Way): string {
  if (reach === room && room > 0) return reverse ? "to the end" : "to the start";
  return `${steps(reach)} ${reverse ? "ahead" : "back"}`;
}

/** A piece of the run's line, as the charts draw it. */
function drawMark(canvas: HTMLCanvasElement, colour: string, dash: number[]): void {
  const { context } = prepare(canvas, 22, 10);
  context.strokeStyle = colour;
  context.lineWidth = 2.5;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(0, 5);
  context.lineTo(22, 5);
  context.stroke();
}
