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
    const hasC = session.runs.some(({ model }) => model.network.cell.states === 2);
    const heads = ["all networks", ...(hasLoss ? ["loss"] : []), "‖∂L/∂h‖", ...(hasC ? ["‖∂L/∂c‖"] : []), "‖∂L/∂x‖"];
    table.append(row("th", heads));
    for (const run of session.runs) {
      const flow = run.flow[selection.partOf(run)]!;
      const cells = [
        run.model.name,
        ...(hasLoss ? [number(run.losses[step]!)] : []),
        number(flow.h[step]!),
        ...(hasC ? [flow.c ? number(flow.c[step]!) : ""] : []),
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
