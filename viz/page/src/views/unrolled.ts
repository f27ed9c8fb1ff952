/** The network unrolled around the cursor: steps to the right, layers upwards, edges coloured by the gradient on them. */
import type { Shown } from "../session";
import { element, prepare } from "./canvas";
import { cssOf, logShare, lookUp, type Theme } from "./theme";
import { visible } from "./words";

const [LEVEL, LIFT, FOOT, TOP] = [54, 24, 46, 30];
const [GUTTER, APART] = [64, 34];

export class Unrolled {
  readonly root = element("div", { class: "unrolled" });
  private readonly canvas = element("canvas");
  /** The steps that are drawn, from the left. */
  private first = 0;
  private count = 0;

  constructor(jump: (step: number) => void) {
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("click", (event) => {
      const place = Math.round((event.offsetX - GUTTER - APART / 2) / APART);
      if (place >= 0 && place < this.count) jump(this.first + place);
    });
    this.root.append(this.canvas);
  }

  /** One direction of all layers. `step` is in the middle, if there is room on both sides. */
  draw(run: Shown, direction: number, step: number, symbols: string[] | null, theme: Theme): void {
    const { T } = run.forward;
    const width = Math.max(1, this.root.clientWidth);
    const fits = Math.max(2, Math.floor((width - GUTTER) / APART));
    this.count = Math.min(T, fits);
    this.first = Math.max(0, Math.min(step - Math.floor(fits / 2), T - this.count));
    const { directions } = run.model.network;
    const { reverse, origin, dependence } = run.ways[direction]!;
    const flow = run.flow.filter((_, place) => place % directions === direction);
    const layers = flow.length;
    const height = TOP + (layers - 1) * LEVEL + (flow.at(-1)!.c ? LIFT : 0) + FOOT;
    const { context } = prepare(this.canvas, width, height);
    const x = (t: number): number => GUTTER + (t - this.first + 0.5) * APART;
    const y = (layer: number, lift: number): number => height - FOOT - layer * LEVEL - lift;
    const largest = flow.map(({ h, c }) => [maxOf(h), c ? maxOf(c) : 0]).flat().reduce((a, b) => Math.max(a, b), 0);
    const edge = (from: [number, number], to: [number, number], size: number): void => {
      const share = logShare(size, largest);
      context.strokeStyle = share > 0 ? cssOf(lookUp(theme.size, 0.25 + 0.75 * share)) : theme.line;
      context.lineWidth = share > 0 ? 1.5 + 4.5 * share : 1;
      context.setLineDash(share > 0 ? [] : [2, 3]);
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
      context.setLineDash([]);
    };
    const last = this.first + this.count - 1;
    flow.forEach(({ h, c }, layer) => {
      for (let t = this.first; t <= last; t++) {
        const below = layer === 0 ? y(0, -20) : y(layer - 1, flow[layer - 1]!.c ? LIFT : 0);
        edge([x(t), below], [x(t), y(layer, 0)], layer === 0 ? dependence[t]! : flow[layer - 1]!.h[t]!);
        if (t === last) continue;
        const passed = reverse ? t + 1 : t; // the step whose state this edge carries
        edge([x(t), y(layer, 0)], [x(t + 1), y(layer, 0)], h[passed]!);
        if (c) edge([x(t), y(layer, LIFT)], [x(t + 1), y(layer, LIFT)], c[passed]!);
      }
    });
    context.textBaseline = "middle";
    flow.forEach(({ c }, layer) => {
      context.fillStyle = theme.muted;
      context.textAlign = "right";
      const of = layers > 1 ? ` ${layer + 1}` : "";
      context.fillText(`h${of}`, GUTTER - 6, y(layer, 0));
      if (c) context.fillText(`c${of}`, GUTTER - 6, y(layer, LIFT));
      for (let t = this.first; t <= last; t++) {
        dot(context, x(t), y(layer, 0), 5, t === step, theme);
        if (c) square(context, x(t), y(layer, LIFT), 8, t === step, theme);
      }
    });
    context.textAlign = "center";
    for (let t = this.first; t <= last; t++) {
      context.font = t === step ? "700 13px ui-monospace, monospace" : "13px ui-monospace, monospace";
      context.fillStyle = t === step ? theme.accent : theme.text;
      if (symbols) context.fillText(visible(symbols[t]!).slice(0, 2), x(t), height - 18);
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = theme.muted;
      if (t % 5 === 0 || !symbols) context.fillText(String(t), x(t), height - 5);
      if (t === origin) {
        context.fillStyle = theme.gradient;
        context.fillText("loss ↓", x(t), 8);
      }
    }
    const words = directions === 2 ? `, ${reverse ? "reverse" : "forward"} direction` : "";
    this.canvas.setAttribute("aria-label", `The network unrolled${words}, steps ${this.first} to ${last}`);
  }
}

function maxOf(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

function dot(context: CanvasRenderingContext2D, x: number, y: number, r: number, on: boolean, theme: Theme): void {
  context.beginPath();
  context.arc(x, y, r, 0, 2 * Math.PI);
  shape(context, on, theme);
}

function square(context: CanvasRenderingContext2D, x: number, y: number, a: number, on: boolean, theme: Theme): void {
  context.beginPath();
  context.rect(x - a / 2, y - a / 2, a, a);
  shape(context, on, theme);
}

function shape(context: CanvasRenderingContext2D, on: boolean, theme: Theme): void {
  context.fillStyle = on ? theme.accent : theme.surface;
  context.fill();
  context.strokeStyle = on ? theme.accent : theme.muted;
  context.lineWidth = 1.2;
  context.stroke();
}
