/** Units that are on where the reader says so, and off elsewhere: their values as lines on the time axis. */
import type { LayerTape } from "../engine/network";
import type { Session, Shown } from "../session";
import { GUTTER, type TimeAxis } from "./axis";
import { element } from "./canvas";
import { drawLines } from "./lines";
import type { Theme } from "./theme";
import { number } from "./words";

/** What a click in the timeline does: look at a step, or mark it as on or off. */
export type Mode = "look" | "on" | "off";

const FOUND = 4;
const HEIGHT = 46;

export class Search {
  readonly root = element("section", { class: "panel search" });
  mode: Mode = "look";
  private readonly buttons = new Map<Mode, HTMLButtonElement>();
  private readonly told = element("p", { class: "note" });
  private readonly rows = Array.from({ length: FOUND }, () => {
    const [name, canvas] = [element("div", { class: "map-name" }), element("canvas")];
    canvas.setAttribute("role", "img");
    return { row: element("div", { class: "found" }, name, canvas), name, canvas };
  });

  constructor(
    private readonly session: Session,
    changed: () => void,
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
      ...this.rows.map(({ row }) => row),
    );
  }

  draw(run: Shown, layer: number, axis: TimeAxis, theme: Theme): void {
    for (const [mode, button] of this.buttons) button.setAttribute("aria-pressed", String(mode === this.mode));
    const marks = [...this.session.marks].filter(([step]) => step < this.session.T);
    const [on, off] = [true, false].map((wanted) => marks.filter(([, is]) => is === wanted).map(([step]) => step)) as [
      number[],
      number[],
    ];
    const ready = on.length > 0 && off.length > 0;
    const { H } = run.model.network;
    const tape = run.forward.tape.layers[layer]!;
    const found = ready ? ranked(tape, H, on, off).slice(0, FOUND) : [];
    const state = tape.c ? "c" : "h";
    this.told.textContent = ready
      ? `${run.model.name}: ${state} of the units that tell the ${on.length} steps marked as on ` +
        `from the ${off.length} marked as off. ` +
        "Score: the gap between the two, in standard deviations of the unit."
      : "Mark steps where a unit should be on, and others where it should be off; on the keyboard + and − mark the " +
        "step at the cursor.";
    this.rows.forEach(({ row, name, canvas }, place) => {
      const one = found[place];
      row.hidden = one === undefined;
      if (!one) return;
      name.replaceChildren(
        element("b", { text: `unit ${one.unit}` }),
        element("span", { class: "words", text: `score ${number(one.score)}` }),
      );
      const values = Float32Array.from({ length: axis.T }, (_, t) => (tape.c ?? tape.h)[(t + 1) * H + one.unit]!);
      const lines = [{ values, colour: theme.text, dash: [], focused: false }];
      drawLines(
        canvas,
        lines,
        { width: axis.width - GUTTER, height: HEIGHT, left: 0, x: (t) => axis.middle(t) - GUTTER, logarithmic: false },
        theme,
      );
      canvas.setAttribute("aria-label", `${state} of unit ${one.unit} at each step`);
    });
  }
}

/** Units by the gap between their values where they should be on and where they should be off; the sign is free. */
function ranked(tape: LayerTape, H: number, on: number[], off: number[]): { unit: number; score: number }[] {
  const values = tape.c ?? tape.h;
  const T = values.length / H - 1;
  const at = (step: number, unit: number): number => values[(step + 1) * H + unit]!;
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
