/** The numbers at the cursor. */
import type { Session } from "../session";
import { element } from "./canvas";
import { number } from "./words";

export class Readout {
  readonly root = element("div", { id: "readout" });

  draw(session: Session, step: number, layer: number): void {
    this.root.replaceChildren();
    if (step < 0) return;
    const table = element("table");
    const hasLoss = session.runs.some((run) => run.model.hasLoss);
    table.append(row("th", ["all networks", ...(hasLoss ? ["loss"] : []), "‖∂L/∂h‖", "‖∂L/∂c‖", "‖∂L/∂x‖"]));
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
    this.root.append(table);
  }
}

function row(kind: "th" | "td", texts: string[]): HTMLElement {
  return element("tr", {}, ...texts.map((text) => element(kind, { text })));
}
