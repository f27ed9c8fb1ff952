/** What each network expects next, or which label it gives: the likeliest of all networks, side by side, and a list. */
import type { Session, Shown } from "../session";
import { element } from "./canvas";
import type { Theme } from "./theme";
import { named, percent, quoted, visible } from "./words";

const LISTED = 5;
/** Of a probability, from which on a part of a bar is wide enough for its name. */
const LEGIBLE = 0.06;
const LETTER = 0.037;

/** What some networks are asked, and what they may answer. */
interface Question {
  heading: (Node | string)[];
  /** Said in place of an answer. */
  note: string | null;
  /** What may be answered, and the numbers of the networks that do. */
  names: string[];
  runs: number[];
  /** The probabilities of a network's answers, and the answer that is marked; undefined: none is. */
  shares(run: Shown): Float64Array;
  marked(run: Shown): number | undefined;
  why: string;
}

/** The predictions of element `at`, which may be the one after the last; `focus` is the network that is listed. */
export function drawPredictions(root: HTMLElement, session: Session, at: number, focus: number, theme: Theme): void {
  root.replaceChildren();
  if (session.T === 0) return;
  for (const question of [ofNext(session, at), ofLabel(session, at, focus)]) if (question) draw(root, session, question, focus, theme);
}

function draw(root: HTMLElement, session: Session, question: Question, focus: number, theme: Theme): void {
  const { names, runs } = question;
  root.append(element("h2", { class: "plain" }, ...question.heading));
  if (question.note !== null) return root.append(element("p", { class: "note", text: question.note }));
  const colour = (run: number): string => theme.runs[run % theme.runs.length]!;
  for (const index of runs) {
    const run = session.runs[index]!;
    const shares = question.shares(run);
    const bar = element("span", { class: "stack" });
    for (const answer of ordered(shares).filter((one) => shares[one]! >= 0.01)) {
      const part = element("span", { class: answer === question.marked(run) ? "part expected" : "part" });
      part.style.width = `${100 * shares[answer]!}%`;
      part.style.setProperty("--run", colour(index));
      part.title = `${names[answer]!} ${percent(shares[answer]!)}`;
      if (shares[answer]! >= LEGIBLE + LETTER * (names[answer]!.length - 1)) part.textContent = names[answer]!;
      bar.append(part);
    }
    root.append(
      element("div", { class: "expectation" }, element("span", { class: "name", text: run.model.name }), bar),
    );
  }
  const listed = runs.includes(focus) ? focus : runs[0]!;
  root.append(listOf(session.runs[listed]!, question, colour(listed)));
}

/** The symbol that comes next; null if no network predicts it. */
function ofNext(session: Session, at: number): Question | null {
  const { symbols, sequence } = session.input;
  const alphabet = session.page.description.symbols;
  const runs = numbersOf(session, (run) => run.model.description.predicts === "symbol");
  if (!alphabet || !symbols || !("tokens" in sequence) || runs.length === 0) return null;
  const before = quoted(symbols.slice(Math.max(0, at - 10), at));
  const heading: (Node | string)[] = [
    "After ",
    element("q", { class: "symbols", text: `${at > 10 ? "…" : ""}${before}` }),
    " comes",
  ];
  return {
    heading,
    note: at === 0 ? "The first symbol is not predicted: nothing stands before it." : null,
    names: alphabet.map(visible),
    runs,
    shares: ({ model, forward }) => model.probabilitiesAt(forward, at - 1)!.subarray(0, alphabet.length),
    marked: () => sequence.tokens[at],
    why: "This is what stands there.",
  };
}

/** The label of a step or of the sequence; null if no network predicts one. */
function ofLabel(session: Session, at: number, focus: number): Question | null {
  const { labels } = session.page.description;
  const runs = numbersOf(session, (run) => run.model.predictsLabel);
  if (!labels || runs.length === 0) return null;
  const step = Math.min(at, session.T - 1);
  const { model } = session.runs[runs.includes(focus) ? focus : runs[0]!]!;
  const where = `${model.description.readout === "steps" ? "at" : "after"} step ${step}${named(session.input.symbols, step)}`;
  return {
    note: null,
    heading: [model.ofWhole ? "Label of the whole sequence" : `Label ${where}`],
    names: labels,
    runs,
    shares: (run) => run.model.probabilitiesAt(run.forward, step)!,
    marked: (run) => (run.model.description.readout === "steps" ? run.model.labelAt(run.forward, step, session.label) : run.label),
    why: "This is the label whose loss is looked at.",
  };
}

function numbersOf(session: Session, wanted: (run: Shown) => boolean): number[] {
  return Array.from(session.runs.keys()).filter((index) => wanted(session.runs[index]!));
}

function ordered(shares: Float64Array): number[] {
  return Array.from(shares.keys()).sort((a, b) => shares[b]! - shares[a]!);
}

function listOf(run: Shown, question: Question, colour: string): HTMLElement {
  const shares = question.shares(run);
  const marked = question.marked(run);
  const order = ordered(shares).slice(0, LISTED);
  if (marked !== undefined && !order.includes(marked)) order[LISTED - 1] = marked;
  const list = element("ol", { class: "bars" });
  list.style.setProperty("--names", `${Math.min(9, Math.max(...order.map((one) => question.names[one]!.length)))}ch`);
  for (const answer of order) {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${100 * shares[answer]!}%`;
    bar.style.backgroundColor = colour;
    const name = element("span", { class: "symbols", text: question.names[answer]! });
    name.title = question.names[answer]!;
    const row = element(
      "li",
      { class: answer === marked ? "expected" : "" },
      name,
      element("span", { class: "track" }, bar),
      element("span", { class: "number", text: percent(shares[answer]!) }),
    );
    if (answer === marked) row.title = question.why;
    list.append(row);
  }
  return element("div", { class: "prediction" }, element("h3", { text: run.model.name }), list);
}
