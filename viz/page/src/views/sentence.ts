/** What the pictures show, in one sentence. */
import type { Session, Shown } from "../session";
import { steps, visible } from "./words";

export function sentenceOf(session: Session): string {
  const { runs, T, target, input } = session;
  if (T < 2) return "Type something: the networks read it, and the colours show what they remember.";
  const what = input.symbols ? `To predict “${visible(input.symbols[target]!)}”, ` : `At step ${target}, `;
  const sorted = [...runs].sort((a, b) => a.reach - b.reach);
  const [least, most] = [sorted[0]!, sorted.at(-1)!];
  if (least.reach === most.reach)
    return `${what}${runs.length > 1 ? "each network" : most.model.name} looks ${back(session, most)}.`;
  if (runs.length === 2)
    return `${what}${most.model.name} looks ${back(session, most)}, and ${least.model.name} ${back(session, least)}.`;
  return `${what}${most.model.name} looks furthest, ${back(session, most)}; ${least.model.name} least far, ${back(session, least)}.`;
}

function back(session: Session, run: Shown): string {
  const step = session.lossStep(run.model);
  if (run.reach === step && step > 0) return `back to the start, ${steps(step)}`;
  return run.reach === 0 ? "at the step before alone" : `back ${steps(run.reach)}`;
}
