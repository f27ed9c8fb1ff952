/** The numbers at the cursor. */
import { rowNorms } from "../model";
import type { Session } from "../session";
import { element } from "./canvas";
import { number, visible } from "./words";

export class Readout {
  readonly root = element("section", { class: "panel", id: "readout" });

  draw(session: Session, step: number, focus: number, layer: number): void {
    this.root.replaceChildren();
    if (step < 0) return;
    const symbol = session.input.symbols?.[step];
    const heading = element("h2", { class: "plain", text: `Step ${step}` });
    if (symbol !== undefined) heading.append(", ", element("q", { class: "symbols", text: visible(symbol) }));
    const table = element("table");
    const hasLoss = session.runs.some((run) => run.model.hasLoss);
    table.append(row("th", ["at this step", ...(hasLoss ? ["loss"] : []), "‖∂L/∂h‖", "‖∂L/∂c‖", "‖∂L/∂x‖"]));
    for (const run of session.runs) {
      const flow = run.flow[Math.min(layer, run.flow.length - 1)]!;
      const loss = step > 0 ? run.forward.losses[step - 1]! : NaN;
      const cells = [
        run.model.name,
        ...(hasLoss ? [number(loss)] : []),
        number(flow.h[step]!),
        flow.c ? number(flow.c[step]!) : "",
        number(run.dependence[step]!),
      ];
      table.append(row("td", cells));
    }
    this.root.append(heading, table, this.means(session, step, focus, layer));
  }

  /** Means over the units of the run whose insides are shown. */
  private means(session: Session, step: number, focus: number, layer: number): HTMLElement {
    const { model, forward } = session.runs[focus]!;
    const { H, cell } = model.network;
    const tape = forward.tape.layers[Math.min(layer, forward.tape.layers.length - 1)]!;
    const told = model.description.cell.gates.map(({ name, slot }) => {
      const start = (step * cell.slots + slot) * H;
      const mean = tape.slots.subarray(start, start + H).reduce((sum, value) => sum + value, 0) / H;
      return `${name} ${number(mean)}`;
    });
    const h = rowNorms(tape.h.subarray((step + 1) * H, (step + 2) * H), H)[0]!;
    return element("p", {
      class: "note",
      text:
        `${model.name}: ${[`‖h‖ ${number(h)}`, ...told].join(", ")}` +
        (told.length ? " (gates: mean of the units)" : ""),
    });
  }
}

function row(kind: "th" | "td", texts: string[]): HTMLElement {
  return element("tr", {}, ...texts.map((text) => element(kind, { text })));
}
