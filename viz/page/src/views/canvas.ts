/** A canvas that is sharp on every screen. */
import { SvgContext } from "./svg";

export interface Surface {
  canvas: HTMLCanvasElement;
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
}

/** Where drawings are written down, while they are. */
let recorded: Map<HTMLCanvasElement, SvgContext> | null = null;

/** Calls `draw`, and returns what it draws on each canvas. */
export function recordDrawings(draw: () => void): Map<HTMLCanvasElement, SvgContext> {
  const found = (recorded = new Map<HTMLCanvasElement, SvgContext>());
  try {
    draw();
  } finally {
    recorded = null;
  }
  return found;
}

/** The canvas with this size in CSS pixels, cleared. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): Surface {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  if (recorded) {
    const written = new SvgContext(context);
    recorded.set(canvas, written);
    return { canvas, context: written as unknown as CanvasRenderingContext2D, width, height };
  }
  return { canvas, context, width, height };
}

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  options: { class?: string; text?: string; id?: string } = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  if (options.class) made.className = options.class;
  if (options.id) made.id = options.id;
  if (options.text !== undefined) made.textContent = options.text;
  made.append(...children);
  return made;
}
