/** One lane for each run: how far back the loss looked at depends on h, and on c. */
import type { Session } from "../session";
import { GUTTER, type TimeAxis } from "./axis";
import { element, prepare } from "./canvas";
import { drawStrip } from "./maps";
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
      button.title = `${model.name}: ${equation(model.description.cell)}`;
      button.addEventListener("click", () => focus(index));
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      this.root.append(element("div", { class: "lane" }, button, canvas));
      return { button, reach, mark, canvas };
    });
  }

  draw(axis: TimeAxis, layer: number, focus: number, theme: Theme): void {
    const { session } = this;
    session.runs.forEach((run, index) => {
      const { button, reach, mark, canvas } = this.rows[index]!;
      const colour = theme.runs[index % theme.runs.length]!;
      button.setAttribute("aria-pressed", String(index === focus));
      const step = session.lossStep(run.model);
      const whole = run.reach === step && step > 0;
      reach.textContent = session.T < 2 ? "" : whole ? "to the start" : `${steps(run.reach)} back`;
      drawMark(mark, colour, DASHES[index % DASHES.length]!);
      const { context } = prepare(canvas, axis.plotWidth, HEIGHT);
      const flow = run.flow[Math.min(layer, run.flow.length - 1)]!;
      const strips = flow.c ? [flow.h, flow.c] : [flow.h];
      const height = HEIGHT / strips.length;
      strips.forEach((values, row) => {
        const largest = values.reduce((most, value) => Math.max(most, value), 0);
        const colours = Uint32Array.from(values, (value) => lookUp(theme.size, logShare(value, largest)));
        drawStrip(context, axis, row * height, height - (row < strips.length - 1 ? 1 : 0), colours);
      });
      if (session.T >= 2 && axis.holds(step - run.reach)) {
        // where the 1 % of the text beside it are
        context.fillStyle = theme.text;
        context.fillRect(axis.left(step - run.reach) - GUTTER - 1, 0, 2, HEIGHT);
      }
      canvas.setAttribute("aria-label", `${run.model.name}: gradient at each step. It reaches ${reach.textContent}.`);
    });
  }
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
