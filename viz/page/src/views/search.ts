/** Units that are on where the reader says so, and off elsewhere: their values as lines on the time axis. */
import type { PartTape } from "../engine/network";
import type { Session, Shown } from "../session";
import { GUTTER, type TimeAxis } from "./axis";
import { element } from "./canvas";
import { drawLines } from "./lines";
import type { Selection } from "./selection";
import type { Theme } from "./theme";
import { number } from "./words";

/** What a click in the timeline does: look at a step, or mark it as on or off. */
export type Mode = "look" | "on" | "off";

const FOUND = 4;
const HEIGHT = 58;

interface Row {
  unit: number;
  root: HTMLElement;
  name: HTMLElement;
  score: HTMLElement;
  pin: HTMLButtonElement;
  show: HTMLButtonElement;
  canvas: HTMLCanvasElement;
}

export class Search {
  readonly root = element("section", { class: "panel search" });
  mode: Mode = "look";
  private readonly buttons = new Map<Mode, HTMLButtonElement>();
  private readonly told = element("p", { class: "note" });
  private readonly rows: Row[] = [];

  constructor(
    private readonly session: Session,
    changed: () => void,
    private readonly chosen: (unit: number, what: "pin" | "show") => void,
  ) {
    const choices: [Mode, string][] = [
      ["look", "look at a step"],
      ["on", "mark as on"],
      ["off", "mark as off"],
    ];
    const group = element("span", { class: "modes" }, "a click: ");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "What a click in the timeline does");
    for (const [mode, words] of choices) {
      const button = element("button", { text: words });
      button.type = "button";
      button.addEventListener("click", () => {
        this.mode = mode;
        changed();
      });
      this.buttons.set(mode, button);
      group.append(button);
    }
    const clear = element("button", { text: "clear" });
    clear.type = "button";
    clear.addEventListener("click", () => {
      session.marks.clear();
      changed();
    });
    group.append(clear);
    this.root.append(
      element("h2", {}, "Find a unit by what it does", group),
      this.told,
    );
  }

  draw(run: Shown, selection: Selection, axis: TimeAxis, theme: Theme): void {
    for (const [mode, button] of this.buttons) button.setAttribute("aria-pressed", String(mode === this.mode));
    const marks = [...this.session.marks].filter(([step]) => step < this.session.T);
    const [on, off] = [true, false].map((wanted) => marks.filter(([, is]) => is === wanted).map(([step]) => step)) as [
      number[],
      number[],
    ];
    const { H } = run.model.network;
    const tape = run.forward.tape.parts[selection.partOf(run)]!;
    const scores = on.length > 0 && off.length > 0 ? ranked(tape, H, on, off) : [];
    const state = tape.c ? "c" : "h";
    this.told.textContent =
      scores.length > 0
        ? `${run.model.name}: ${state} of the units that tell the ${on.length} steps marked as on ` +
          `from the ${off.length} marked as off. ` +
          "Score: the gap between the two, in standard deviations of the unit."
        : "Mark steps where a unit should be on, and others where it should be off: with the mouse, or with + and − at " +
          "the cursor. A click in a map below shows its unit in the cell above; a pinned unit stays here as a line.";
    const pins = selection.pins.filter((unit) => unit < H);
    const found = scores.filter(({ unit }) => !pins.includes(unit)).slice(0, FOUND);
    const shown = [
      ...pins.map((unit) => ({ unit, score: scores.find((one) => one.unit === unit)?.score ?? null })),
      ...found,
    ];
    while (this.rows.length < shown.length) this.addRow();
    this.rows.forEach((row, place) => {
      const one = shown[place];
      row.root.hidden = one === undefined;
      if (!one) return;
      row.unit = one.unit;
      row.name.textContent = `unit ${one.unit}`;
      row.score.textContent = one.score === null ? "" : `score ${number(one.score)}`;
      row.pin.textContent = pins.includes(one.unit) ? "unpin" : "pin";
      row.show.setAttribute("aria-pressed", String(selection.unit === one.unit));
      for (const button of [row.pin, row.show]) button.setAttribute("aria-label", `${button.textContent}, unit ${one.unit}`);
      const values = Float32Array.from({ length: axis.T }, (_, t) => (tape.c ?? tape.h)[t * H + one.unit]!);
      const lines = [{ values, colour: theme.text, dash: [], focused: false }];
      drawLines(
        row.canvas,
        lines,
        {
          width: axis.width - GUTTER,
          height: HEIGHT,
          left: 0,
          x: (t) => axis.middle(t) - GUTTER,
          logarithmic: false,
          shown: axis.shown,
        },
        theme,
      );
      row.canvas.setAttribute("aria-label", `${state} of unit ${one.unit} at each step`);
    });
  }

  private addRow(): void {
    const button = (text: string, press: () => void): HTMLButtonElement => {
      const made = element("button", { text });
      made.type = "button";
      made.addEventListener("click", press);
      return made;
    };
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    const row: Row = {
      unit: 0,
      root: element("div", { class: "found" }),
      name: element("b"),
      score: element("span", { class: "words" }),
      pin: button("pin", () => this.chosen(row.unit, "pin")),
      show: button("in the cell", () => this.chosen(row.unit, "show")),
      canvas,
    };
    const buttons = element("span", { class: "modes" }, row.pin, row.show);
    row.root.append(element("div", { class: "map-name" }, row.name, row.score, buttons), canvas);
    this.rows.push(row);
    this.root.append(row.root);
  }
}

/** Units by the gap between their values where they should be on and where they should be off; the sign is free. */
function ranked(tape: PartTape, H: number, on: number[], off: number[]): { unit: number; score: number }[] {
  const values = tape.c ?? tape.h;
  const T = values.length / H;
  const at = (step: number, unit: number): number => values[step * H + unit]!;
  const scored = Array.from({ length: H }, (_, unit) => {
    let [sum, squares] = [0, 0];
    for (let t = 0; t < T; t++) {
      sum += at(t, unit);
      squares += at(t, unit) ** 2;
    }
    const deviation = Math.sqrt(Math.max(squares / T - (sum / T) ** 2, 0));
    const [high, low] = [on.map((step) => at(step, unit)), off.map((step) => at(step, unit))];
    const gap = Math.max(Math.min(...high) - Math.max(...low), Math.min(...low) - Math.max(...high));
    return { unit, score: deviation > 1e-6 ? gap / deviation : -Infinity };
  });
  return scored.filter(({ score }) => Number.isFinite(score)).sort((a, b) => b.score - a.score);
}
