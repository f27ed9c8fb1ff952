/** What each network expects next, as bars. */
import type { Session } from "../session";
import { element } from "./canvas";
import type { Theme } from "./theme";
import { percent, visible } from "./words";

const SHOWN = 5;

/** The predictions of element `at`, which may be the one after the last. */
export function drawPredictions(root: HTMLElement, session: Session, at: number, theme: Theme): void {
  const { symbols, sequence } = session.input;
  const alphabet = session.page.description.symbols;
  root.replaceChildren();
  if (!alphabet || !symbols || !("tokens" in sequence)) return;
  const before = symbols.slice(Math.max(0, at - 8), at).map(visible).join("");
  const heading = element("h2");
  heading.append("After ", element("q", { class: "symbols", text: `${at > 8 ? "…" : ""}${before}` }), " comes");
  root.append(heading);
  if (at === 0) {
    root.append(element("p", { class: "note", text: "The first symbol is not predicted: there is nothing before it." }));
    return;
  }
  const expected = sequence.tokens[at];
  session.runs.forEach((run, index) => {
    const { probabilities } = run.forward;
    if (!probabilities) return;
    const O = run.model.description.head!.outputs;
    const of = probabilities.subarray((at - 1) * O, (at - 1) * O + alphabet.length);
    const order = Array.from(of.keys()).sort((a, b) => of[b]! - of[a]!).slice(0, SHOWN);
    if (expected !== undefined && !order.includes(expected)) order[SHOWN - 1] = expected;
    const list = element("ol", { class: "bars" });
    for (const token of order) {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${100 * of[token]!}%`;
      bar.style.backgroundColor = theme.runs[index % theme.runs.length]!;
      const row = element("li", { class: token === expected ? "expected" : "" },
                          element("span", { class: "symbols", text: visible(alphabet[token]!) }),
                          element("span", { class: "track" }, bar),
                          element("span", { class: "number", text: percent(of[token]!) }));
      if (token === expected) row.title = "what stands there";
      list.append(row);
    }
    root.append(element("div", { class: "prediction" }, element("h3", { text: run.model.name }), list));
  });
}
