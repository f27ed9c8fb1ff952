/** For each network the sentence that says how far it looks, and which gate is the reason; and steps to jump to. */
import { breakpoints, diagnose, type Breakpoint, type Finding } from "../diagnosis";
import type { Session } from "../session";
import { element } from "./canvas";
import { factor, named, number, percent, steps } from "./words";

/** A state that has this share of the gradient still carries it: then it is the input that does not get in. */
const STILL = 0.05;

export class Why {
  readonly root = element("section", { class: "panel why" });

  constructor(
    private readonly session: Session,
    private readonly jump: (step: number) => void,
  ) {}

  draw(focus: number, layer: number): void {
    const { session } = this;
    this.root.replaceChildren(element("h2", { class: "plain", text: "Which gate forgets, and where" }));
    if (session.T < 2) return;
    const list = element("ul", { class: "findings" });
    session.runs.forEach((run, index) => {
      const found = diagnose(run, Math.min(layer, run.flow.length - 1), session.lossStep(run.model));
      const item = element("li", { class: index === focus ? "focused" : "" });
      item.append(element("b", { text: run.model.name }), ` ${inWords(found, session.input.symbols)}`);
      list.append(item);
    });
    this.root.append(list, ...this.breakpoints(focus, layer));
  }

  private breakpoints(focus: number, layer: number): HTMLElement[] {
    const run = this.session.runs[focus]!;
    const found = breakpoints(run, Math.min(layer, run.flow.length - 1), this.session.lossStep(run.model));
    const heading = element("h3", { text: `Breakpoints of ${run.model.name}` });
    if (found.length === 0) return [heading, element("p", { class: "note", text: "None: nothing vanishes, explodes or stays saturated." })];
    const list = element("ul", { class: "breakpoints" });
    for (const one of found) {
      const button = element("button", { text: `step ${one.step}${named(this.session.input.symbols, one.step)}` });
      button.type = "button";
      button.addEventListener("click", () => this.jump(one.step));
      list.append(element("li", {}, button, ` ${told(one)}`));
    }
    return [heading, list];
  }
}

function told({ kind, value, what }: Breakpoint): string {
  if (kind === "not finite") return "a state is not a finite number from here on";
  if (kind === "vanishes") return `from here back less than ${number(value)} of the gradient is left`;
  if (kind === "explodes") return `the gradient is ${factor(value)} times that at the loss`;
  return `for ${steps(value)} half of the ${what}'s units or more are at an end of their range`;
}

/** How far a network looks, and why not further. */
export function inWords(found: Finding, symbols: string[] | null): string {
  const { reach, whole, step, left, through, least, run } = found;
  const { cell } = run.model.description;
  if (Number.isNaN(left)) return "gets no gradient at all: it is exactly 0.";
  const gate = cell.keeps ?? cell.enters;
  const shares = gate === null ? `the slope of its ${curveOf(cell)} passes` : `its ${wordsOf(cell, gate)} keeps`;
  const usual = `${shares} ${percent(through)} of the gradient a step`;
  if (whole) return `remembers all ${steps(step)}: ${usual}.`;
  const first = Math.max(0, step - reach);
  const before = `what comes before step ${first}${named(symbols, first)}, ${steps(reach)} back`;
  if (gate !== null && left >= STILL) {
    const entering = cell.enters === null ? `1 − ${cell.keeps}` : `its ${wordsOf(cell, cell.enters)}`;
    return (
      `reads little of ${before}, though its state carries ${percent(left)} of the gradient from there: ` +
      `${usual}, and ${entering} lets in ${percent(found.entering)} of what is new.`
    );
  }
  const forgets = `forgets ${before}`;
  if (Math.log(through) > 0.5 * Math.log(found.pace)) {
    return `${forgets}: a step leaves ${percent(found.pace)} of the gradient. At fault are its weights: ${usual}.`;
  }
  const limit = cell.curve === "sigmoid" && gate === null ? " (25 % at most)" : "";
  const worst =
    reach > 1 ? `, and only ${percent(least.through)} at step ${least.step}${named(symbols, least.step)}` : "";
  return `${forgets}: ${usual}${limit}${worst}.`;
}

function curveOf(cell: { curve: string }): string {
  return cell.curve === "relu" ? "ReLU" : cell.curve;
}

function wordsOf(cell: { gates: { name: string; words: string }[] }, gate: string | null): string {
  return cell.gates.find((one) => one.name === gate)?.words ?? "gate";
}
