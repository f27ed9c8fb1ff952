/** What each network expects next: the likeliest symbols of all of them, side by side, and a list for one. */
import type { Session, Shown } from "../session";
import { element } from "./canvas";
import type { Theme } from "./theme";
import { percent, quoted, visible } from "./words";

const LISTED = 5;
/** Of a probability, from which on a part of a bar is wide enough for its symbol. */
const LEGIBLE = 0.06;

/** The predictions of element `at`, which may be the one after the last; `focus` is the network that is listed. */
export function drawPredictions(root: HTMLElement, session: Session, at: number, focus: number, theme: Theme): void {
  const { symbols, sequence } = session.input;
  const alphabet = session.page.description.symbols;
  root.replaceChildren();
  if (!alphabet || !symbols || !("tokens" in sequence)) return;
  const before = quoted(symbols.slice(Math.max(0, at - 10), at));
  root.append(
    element(
      "h2",
      { class: "plain" },
      "After ",
      element("q", { class: "symbols", text: `${at > 10 ? "…" : ""}${before}` }),
      " comes",
    ),
  );
  if (at === 0) {
    root.append(element("p", { class: "note", text: "The first symbol is not predicted: nothing stands before it." }));
    return;
  }
  const expected = sequence.tokens[at];
  session.runs.forEach((run, index) => {
    const shares = sharesOf(run, at, alphabet.length);
    if (!shares) return;
    const bar = element("span", { class: "stack" });
    const order = ordered(shares).filter((token) => shares[token]! >= 0.01);
    for (const token of order) {
      const part = element("span", { class: token === expected ? "part expected" : "part" });
      part.style.width = `${100 * shares[token]!}%`;
      part.style.setProperty("--run", theme.runs[index % theme.runs.length]!);
      part.title = `${visible(alphabet[token]!)} ${percent(shares[token]!)}`;
      if (shares[token]! >= LEGIBLE) part.textContent = visible(alphabet[token]!);
      bar.append(part);
    }
    root.append(
      element("div", { class: "expectation" }, element("span", { class: "name", text: run.model.name }), bar),
    );
  });
  const listed = session.runs[focus]!;
  const shares = sharesOf(listed, at, alphabet.length);
  if (shares) root.append(listOf(listed, shares, alphabet, expected, theme.runs[focus % theme.runs.length]!));
}

function sharesOf(run: Shown, at: number, count: number): Float64Array | null {
  const { probabilities } = run.forward;
  const O = run.model.description.head?.outputs ?? 0;
  return probabilities && probabilities.subarray((at - 1) * O, (at - 1) * O + count);
}

function ordered(shares: Float64Array): number[] {
  return Array.from(shares.keys()).sort((a, b) => shares[b]! - shares[a]!);
}

function listOf(
  run: Shown,
  shares: Float64Array,
  alphabet: string[],
  expected: number | undefined,
  colour: string,
): HTMLElement {
  const order = ordered(shares).slice(0, LISTED);
  if (expected !== undefined && !order.includes(expected)) order[LISTED - 1] = expected;
  const list = element("ol", { class: "bars" });
  for (const token of order) {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${100 * shares[token]!}%`;
    bar.style.backgroundColor = colour;
    const row = element(
      "li",
      { class: token === expected ? "expected" : "" },
      element("span", { class: "symbols", text: visible(alphabet[token]!) }),
      element("span", { class: "track" }, bar),
      element("span", { class: "number", text: percent(shares[token]!) }),
    );
    if (token === expected) row.title = "This is what stands there.";
    list.append(row);
  }
  return element("div", { class: "prediction" }, element("h3", { text: run.model.name }), list);
}
