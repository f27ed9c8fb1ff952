/** The numbers at the cursor. */
import type { Session } from "../session";
import { element } from "./canvas";
import type { Selection } from "./selection";
import { number } from "./words";

export class Readout {
  readonly root = element("div", { id: "readout" });

  draw(session: Session, step: number, selection: Selection): void {
    this.root.replaceChildren();
    if (step < 0) return;
    const table = element("table");
    const hasLoss = session.hasLosses;
    table.append(row("th", ["all networks", ...(hasLoss ? ["loss"] : []), "‖∂L/∂h‖", "‖∂L/∂c‖", "‖∂L/∂x‖"]));
    for (const run of session.runs) {
      const flow = run.flow[selection.partOf(run)]!;
      const cells = [
        run.model.name,
        ...(hasLoss ? [number(run.losses[step]!)] : []),
        number(flow.h[step]!),
        flow.c ? number(flow.c[step]!) : "",
        number(run.dependence[step]!),
      ];
      table.append(row("td", cells));
    }
    this.root.append(table);
  }
}

function row(kind: "th" | "td", texts: string[]): HTMLElement {
  return element("tr", {}, ...texts.map((text) => element(kind, { text })));
}
