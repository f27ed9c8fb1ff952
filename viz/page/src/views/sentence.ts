/** What the pictures show, in one sentence. */
import type { Session, Shown } from "../session";
import { steps, visible } from "./words";

export function sentenceOf(session: Session): string {
  const { runs, T, target, input } = session;
  if (T < 2) return "Type something: the networks read it, and the colours show what they remember.";
  const what = input.symbols ? `The prediction of “${visible(input.symbols[target]!)}”` : `Step ${target}`;
  const [shortest, longest] = extremes(runs);
  if (runs.length === 1) return `${what} depends on ${spans(session, longest)}; on what came before with less than 1 %.`;
  if (shortest.reach === longest.reach) return `${what} depends on ${spans(session, longest)}, in every network.`;
  const last = runs.length > 2 ? "the shortest memory: " : "";
  return `${what} depends on ${spans(session, longest)} in ${longest.model.name}, and in ${shortest.model.name}, ` +
         `${last}on ${spans(session, shortest)}.`;
}

function spans(session: Session, run: Shown): string {
  const step = session.lossStep(run.model);
  if (run.reach === step && step > 0) return `all ${step + 1} steps before it`;
  return run.reach === 0 ? "the last step alone" : `the last ${steps(run.reach + 1)}`;
}

function extremes(runs: Shown[]): [Shown, Shown] {
  const sorted = [...runs].sort((a, b) => a.reach - b.reach);
  return [sorted[0]!, sorted.at(-1)!];
}
