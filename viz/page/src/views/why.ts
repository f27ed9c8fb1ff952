/** For each network the sentence that says how far it looks, and which gate is the reason; and steps to jump to. */
import { breakpoints, CHOICES, diagnose, keepingGate, wayOf, type Breakpoint, type Finding, type Thresholds } from "../diagnosis";
import type { Session } from "../session";
import { element } from "./canvas";
import type { Selection } from "./selection";
import { factor, named, number, percent, steps } from "./words";

/** A state that has this share of the gradient still carries it: then it is the input that does not get in. */
const STILL = 0.05;

/** What the reader is told about a limit, before and after the number to choose. */
const LIMITS: { [Name in keyof Thresholds]: [before: string, label: string, write: (value: number) => string] } = {
  vanished: ["vanished: below", "Share of the largest gradient below which it has vanished", number],
  exploded: ["exploded: above", "Multiple of the gradient at the loss above which it has exploded", (n) => `× ${factor(n)}`],
  long: ["saturated: for", "Steps from which on a gate is saturated", steps],
};

export class Why {
  readonly root = element("section", { class: "panel why" });
  private readonly told = element("div");
  private readonly limits = element("p", { class: "note limits" });
  private readonly pickers = new Map<keyof Thresholds, HTMLSelectElement>();

  constructor(
    private readonly session: Session,
    private readonly selection: Selection,
    private readonly jump: (step: number, run: number) => void,
    changed: () => void,
  ) {
    for (const name of Object.keys(LIMITS) as (keyof Thresholds)[]) {
      const [before, label, write] = LIMITS[name];
      const picker = element("select");
      for (const value of [...CHOICES[name]].sort((a, b) => a - b)) picker.append(new Option(write(value), String(value)));
      picker.setAttribute("aria-label", label);
      picker.addEventListener("change", () => {
        selection.limits[name] = Number(picker.value);
        changed();
      });
      this.pickers.set(name, picker);
      this.limits.append(element("label", {}, `${before} `, picker));
    }
    this.root.append(element("h2", { class: "plain", text: "Which gate forgets, and where" }), this.told, this.limits);
  }

  draw(): void {
    const { session, selection } = this;
    this.told.replaceChildren();
    this.limits.hidden = session.T < 2;
    for (const [name, picker] of this.pickers) picker.value = String(selection.limits[name]);
    if (session.T < 2) return;
    const list = element("ul", { class: "findings" });
    session.runs.forEach((run, index) => {
      const found = diagnose(run, selection.partOf(run));
      const item = element("li", { class: index === selection.focus ? "focused" : "" });
      const words = inWords(found, session.input.symbols);
      item.append(element("b", { text: run.model.name }), " ", ...this.withSteps(words, faultOf(found), index));
      list.append(item);
    });
    this.told.append(list, ...this.breakpoints());
  }

  /** A sentence in which a click on a step goes there, and in which what is at fault stands out. */
  private withSteps(sentence: string, fault: string, run: number): (Node | string)[] {
    return sentence.split(/(\bstep \d+(?: “.+?”)?)/u).flatMap((piece, place) => {
      if (place % 2 === 1) return [this.button(piece, Number(/\d+/.exec(piece)![0]), run)];
      const [before, ...after] = piece.split(fault);
      return after.length === 0 ? [piece] : [before!, element("b", { text: fault }), after.join(fault)];
    });
  }

  private button(text: string, step: number, run: number): HTMLElement {
    const button = element("button", { text });
    button.type = "button";
    button.addEventListener("click", () => this.jump(step, run));
    return button;
  }

  private breakpoints(): HTMLElement[] {
    const { session, selection } = this;
    const run = session.runs[selection.focus]!;
    const part = selection.partOf(run);
    const found = breakpoints(run, part, selection.limits);
    const heading = element("h3", { text: `Breakpoints of ${run.model.name}` });
    if (found.length === 0) return [heading, element("p", { class: "note", text: "None: nothing vanishes, explodes or stays saturated." })];
    const list = element("ul", { class: "breakpoints" });
    for (const one of found) {
      const button = this.button(`step ${one.step}${named(session.input.symbols, one.step)}`, one.step, selection.focus);
      list.append(element("li", {}, button, ` ${told(one, wayOf(run, part).reverse)}`));
    }
    return [heading, list];
  }
}

/** Whether the weights let less of the gradient through than the gate, or the slope, explains. */
function blamesWeights({ run, left, pace, through, whole }: Finding): boolean {
  const carries = keepingGate(run) !== undefined && left >= STILL;
  return !whole && !carries && Math.log(through) > 0.5 * Math.log(pace);
}

/** What stands out in the sentence about a network. */
function faultOf(found: Finding): string {
  if (blamesWeights(found)) return "weights";
  return keepingGate(found.run)?.words ?? curveOf(found.run.model.description.cell);
}

function told({ kind, value, what }: Breakpoint, reverse: boolean): string {
  const [on, back] = reverse ? ["back", "on"] : ["on", "back"];
  if (kind === "not finite") return `a state is not a finite number from here ${on}`;
  if (kind === "vanishes") return `from here ${back} less than ${number(value)} of the gradient is left`;
  if (kind === "explodes") return `the gradient is ${factor(value)} times that at the loss`;
  return `for ${steps(value)} half of the ${what}'s units or more are at an end of their range`;
}

/** How far a network looks, and why not further. */
export function inWords(found: Finding, symbols: string[] | null): string {
  const { way, whole, left, through, least, run } = found;
  const { origin, reach, room, reverse } = way;
  const { cell, readout, variant } = run.model.description;
  if (Number.isNaN(left)) return "gets no gradient at all: it is exactly 0.";
  const gate = keepingGate(run);
  const kept = gate && `${cell.keeps === null ? "1 − its" : "its"} ${gate.words} keeps`;
  const shares = kept ?? `the slope of its ${curveOf(cell)} passes`;
  const usual = `${shares} ${percent(through)} of the gradient a step`;
  if (room === 0) return `has nothing to remember: the loss is at the ${reverse ? "last" : "first"} step.`;
  if (readout === "mean") return `reads the mean of all steps, so that it needs no memory to reach them: ${usual}.`;
  if (whole) return `remembers all ${steps(room)}${reverse ? " ahead" : ""}: ${usual}.`;
  const end = reverse ? origin + reach : origin - reach;
  const side = reverse ? "after" : "before";
  const beyond = `what comes ${side} step ${end}${named(symbols, end)}, ${steps(reach)} ${reverse ? "ahead" : "back"}`;
  if (gate && left >= STILL) {
    const entering = cell.enters === null ? `1 − ${cell.keeps}` : `its ${wordsOf(cell, cell.enters)}`;
    return (
      `reads little of ${beyond}, though its state carries ${percent(left)} of the gradient from there: ` +
      `${usual}, and ${entering} lets in ${percent(found.entering)} of what is new.`
    );
  }
  const forgets = `forgets ${beyond}`;
  if (blamesWeights(found)) {
    return `${forgets}: a step leaves ${percent(found.pace)} of the gradient. At fault are its weights: ${usual}.`;
  }
  const limit = cell.curve === "sigmoid" && !gate && !variant ? " (25 % at most)" : "";
  const worst =
    reach > 1 ? `, and only ${percent(least.through)} at step ${least.step}${named(symbols, least.step)}` : "";
  return `${forgets}: ${usual}${limit}${worst}.`;
}

function curveOf(cell: { curve: string | null }): string {
  return cell.curve === "relu" ? "ReLU" : (cell.curve ?? "activation");
}

function wordsOf(cell: { gates: { name: string; words: string }[] }, gate: string): string {
  return cell.gates.find((one) => one.name === gate)?.words ?? "gate";
}
