/** The state of the page in its address, after #, so that a link shows the same thing. */
import { CHOICES, type Thresholds } from "../diagnosis";

export interface State {
  text: string | null;
  look: number | null;
  run: string | null;
  layer: number;
  direction: number;
  label: number | null;
  example: number;
  /** The step that is held, the unit of the cell, the pinned units, and the part of the time that is shown. */
  at: number | null;
  unit: number | null;
  pins: number[];
  /** The order of the units. */
  order: string | null;
  from: number | null;
  steps: number | null;
  theme: "light" | "dark" | null;
  /** From where on a breakpoint counts. */
  limits: Partial<Thresholds>;
}

/** A longer text is left out: addresses of more than a few thousand characters do not survive being sent. */
const LONGEST = 2000;
const PAUSE = 300;
const LIMITS = Object.keys(CHOICES) as (keyof Thresholds)[];

export function stateOfAddress(): State {
  const read = new URLSearchParams(location.hash.slice(1));
  const whole = (name: string): number | null => {
    const value = read.get(name);
    return value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;
  };
  const theme = read.get("theme");
  const limits = LIMITS.map((name) => [name, Number(read.get(name))] as const);
  return {
    text: read.get("text"),
    look: whole("look"),
    run: read.get("run"),
    layer: whole("layer") ?? 0,
    direction: whole("direction") ?? 0,
    label: whole("label"),
    example: whole("example") ?? 0,
    at: whole("at"),
    unit: whole("unit"),
    pins: (read.get("pins") ?? "").split(".").filter((pin) => /^\d{1,6}$/.test(pin)).map(Number),
    order: read.get("order"),
    from: whole("from"),
    steps: whole("steps"),
    theme: theme === "light" || theme === "dark" ? theme : null,
    limits: Object.fromEntries(limits.filter(([name, value]) => CHOICES[name].includes(value))),
  };
}

let waiting = 0;

/** Writes the state a moment later, since a browser refuses many changes at once. */
export function keepInAddress(state: State): void {
  if (location.protocol === "about:") return; // in the frame of a notebook there is no address
  window.clearTimeout(waiting);
  waiting = window.setTimeout(() => {
    const written = new URLSearchParams();
    if (state.text !== null && state.text.length <= LONGEST) written.set("text", state.text);
    for (const name of ["look", "label", "at", "unit", "order", "from", "steps"] as const) {
      if (state[name] !== null) written.set(name, String(state[name]));
    }
    if (state.pins.length) written.set("pins", state.pins.join("."));
    if (state.run !== null) written.set("run", state.run);
    for (const name of ["layer", "direction", "example"] as const) {
      if (state[name] > 0) written.set(name, String(state[name]));
    }
    for (const name of LIMITS) {
      const value = state.limits[name];
      if (value !== undefined && value !== CHOICES[name][0]) written.set(name, String(value));
    }
    if (state.theme) written.set("theme", state.theme);
    history.replaceState(null, "", `#${written}`);
  }, PAUSE);
}
