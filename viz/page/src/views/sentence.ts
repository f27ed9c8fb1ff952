/** What the pictures show, in one sentence. */
import type { Session, Shown, Way } from "../session";
import { steps, visible } from "./words";

export function sentenceOf(session: Session): string {
  const { runs, T } = session;
  if (T < 2) return "Type something: the networks read it, and the colours show what they remember.";
  const what = whatFor(session);
  const sorted = [...runs].sort((a, b) => reachOf(a) - reachOf(b));
  const [least, most] = [sorted[0]!, sorted.at(-1)!];
  if (back(least) === back(most)) return `${what}${runs.length > 1 ? "each network" : most.model.name} looks ${back(most)}.`;
  if (runs.length === 2) return `${what}${most.model.name} looks ${back(most)}, and ${least.model.name} ${back(least)}.`;
  return `${what}${most.model.name} looks furthest, ${back(most)}; ${least.model.name} least far, ${back(least)}.`;
}

/** What the networks are asked for. */
function whatFor({ runs, target, label, page, input }: Session): string {
  const { labels } = page.description;
  if (labels && runs.every(({ model }) => model.predictsLabel)) {
    const at = runs.every(({ model }) => model.ofWhole) ? "" : ` at step ${target}`;
    const [first] = runs;
    if (label === null && runs.some((run) => run.label !== first!.label)) return `For the label that ${runs.length > 1 ? "each" : "it"} predicts${at}, `;
    return `For the label “${labels[first!.label]}”${at}, `;
  }
  const next = runs.every(({ model }) => model.predictsNext);
  return input.symbols && next ? `To predict “${visible(input.symbols[target]!)}”, ` : `At step ${target}, `;
}

function reachOf({ ways }: Shown): number {
  return ways.reduce((sum, { reach }) => sum + reach, 0);
}

function back({ model, ways }: Shown): string {
  const [past, future] = ways as [Way, Way | undefined];
  if (future && model.ofWhole) {
    return `${steps(past.reach)} back from the end and ${steps(future.reach)} ahead from the start`;
  }
  const told = [
    ...(past.reach > 0 ? [past.reach === past.room ? `back to the start, ${steps(past.reach)}` : `back ${steps(past.reach)}`] : []),
    ...(future && future.reach > 0
      ? [future.reach === future.room ? `ahead to the end, ${steps(future.reach)}` : `ahead ${steps(future.reach)}`]
      : []),
  ];
  if (told.length === 0) return model.predictsNext ? "at the step before alone" : "at this step alone";
  return told.join(", and ");
}
