/**
 * The text that the networks read, in the colours of what the loss looked at depends on.
 *
 * The field itself is transparent and lies on a copy of its text, which has the colours. Rows of numbers are edited in
 * the same field, one row a line.
 */
import type { Session, Shown } from "../session";
import { element } from "./canvas";
import { cssOf, logShare, lookUp, type Theme } from "./theme";
import { shortest } from "./words";

/** In pixels: five lines and a half, so that one sees that there is more; and what is above the first line. */
const [HIGHEST, PADDING] = [165, 8];

export class Editor {
  readonly root: HTMLElement;
  readonly field: HTMLTextAreaElement;
  private readonly copy: HTMLElement;
  private readonly note: HTMLElement;
  private composing = false;

  constructor(
    private readonly session: Session,
    changed: () => void,
    caretMoved: (element: number | null) => void,
  ) {
    const words = session.page.description.symbols
      ? "Text that the networks read"
      : "Rows that the networks read, one a line";
    this.field = element("textarea");
    Object.assign(this.field, { spellcheck: false, autocapitalize: "off", autocomplete: "off", rows: 3 });
    this.field.setAttribute("aria-label", words);
    this.field.setAttribute("autocorrect", "off");
    this.copy = element("div", { class: "copy" });
    this.copy.setAttribute("aria-hidden", "true");
    this.note = element("p", { class: "note", id: "note" });
    this.note.setAttribute("role", "status");
    this.root = element(
      "section",
      { class: "editor" },
      element("div", { class: "field" }, this.copy, this.field),
      this.note,
    );
    this.field.addEventListener("compositionstart", () => (this.composing = true));
    this.field.addEventListener("compositionend", () => {
      this.composing = false;
      changed();
    });
    this.field.addEventListener("input", () => {
      this.mirror();
      if (!this.composing) changed();
    });
    this.field.addEventListener("scroll", () => (this.copy.scrollTop = this.field.scrollTop));
    const byCaret = (): void => caretMoved(this.elementAtCaret());
    this.field.addEventListener("click", byCaret);
    this.field.addEventListener("keyup", (event) => {
      if (/^(Arrow|Home|End|Page)/.test(event.key)) byCaret();
    });
  }

  /** The element to the left of the caret; null at the end, where the last one is looked at. */
  private elementAtCaret(): number | null {
    if (!this.session.page.description.symbols) return null;
    const before = Array.from(this.field.value.slice(0, this.field.selectionStart)).length;
    const step = this.session.input.steps.slice(0, before).reduce((last, at) => Math.max(last, at), -1);
    return step < 0 || step >= this.session.T - 1 ? null : step;
  }

  /** What is written, or what is wrong with it. */
  value(): { input: string | number[][]; problem: string | null } {
    const text = this.field.value;
    if (this.session.page.description.symbols) return { input: text, problem: null };
    const width = this.session.page.models[0]!.network.I;
    const rows: number[][] = [];
    for (const [index, line] of text.split("\n").entries()) {
      if (line.trim() === "") continue;
      const row = line
        .trim()
        .split(/[\s,;]+/)
        .map(Number);
      if (row.length !== width || !row.every(Number.isFinite)) {
        return {
          input: rows,
          problem:
            `Line ${index + 1} has to have ${width} finite ${width === 1 ? "number" : "numbers"}; ` +
            "the networks read what stands before it.",
        };
      }
      rows.push(row);
    }
    return { input: rows, problem: null };
  }

  set(input: string | number[][]): void {
    this.field.value = typeof input === "string" ? input : input.map((row) => row.map(shortest).join(" ")).join("\n");
    this.mirror();
  }

  /** Changes one number of the rows. */
  change(step: number, column: number, value: number): void {
    const { input } = this.value();
    if (typeof input === "string" || input[step]?.[column] === undefined) return;
    input[step][column] = value;
    this.set(input);
  }

  /** Until colours are known, the copy is plain: the reader sees the key that was pressed at once. */
  private mirror(): void {
    this.copy.textContent = `${this.field.value.slice(0, 20000)}\n`;
    this.fit();
  }

  /** As high as its text, within limits. */
  private fit(): void {
    const { field, copy } = this;
    field.style.height = "";
    field.style.height = copy.style.height = `${Math.min(HIGHEST, field.scrollHeight)}px`;
    copy.scrollTop = field.scrollTop;
  }

  /** Scrolls to the element looked at, unless the reader is writing. */
  private follow(): void {
    const target = this.copy.querySelector<HTMLElement>(".target");
    if (!target || document.activeElement === this.field) return;
    const { offsetTop, offsetHeight } = target;
    const { scrollTop, clientHeight } = this.field;
    if (offsetTop < scrollTop || offsetTop + offsetHeight > scrollTop + clientHeight) {
      this.field.scrollTop = offsetTop + offsetHeight - clientHeight + PADDING;
    }
  }

  draw(run: Shown, theme: Theme, problem: string | null): void {
    if (this.session.page.description.symbols) this.colour(run, theme);
    this.note.textContent = [problem, ...this.notes(run)].filter(Boolean).join(" ");
  }

  /** Sentences about what is read, and what is not. */
  private notes(run: Shown): string[] {
    const { input, page, T, target, took } = this.session;
    const told: string[] = [];
    if (input.unknown.length) {
      const few = input.unknown.slice(0, 8).map((symbol) => JSON.stringify(symbol));
      const [these, them] = input.unknown.length === 1 ? ["this symbol", "it"] : ["these symbols", "them"];
      told.push(`Struck through: ${few.join(" ")}${input.unknown.length > 8 ? " …" : ""}.`);
      told.push(`The networks never learnt ${these}, and do not read ${them}.`);
    }
    if (input.omitted)
      told.push(`The networks read the first ${count(T)} steps; ${count(input.omitted)} more are left out.`);
    const converted = page.models.filter((model) => model.description.dtype === "float64").map((model) => model.name);
    if (converted.length) told.push(`Run here in float32: ${converted.join(", ")}.`);
    if (T < 2) return [...told, `Type at least two ${page.description.symbols ? "symbols" : "rows"}.`];
    const { example } = this.session;
    const begins = page.models.filter((_, index) => page.initialOf(index, example)).map((model) => model.name);
    if (begins.length) told.push(`${begins.join(", ")} ${begins.length === 1 ? "begins" : "begin"} with the recorded state.`);
    told.push(`${count(T)} steps, computed in ${took.toFixed(0)} ms;`);
    if (!this.session.movable) return [...told, "the networks are asked after the last one."];
    told.push(`step ${target} is ${run.model.predictsNext ? "predicted" : "looked at"}.`);
    told.push("Click in the text or in a picture to look at another.");
    return page.description.symbols && page.models.length > 1 ? [...told, `The text has the colours of ${run.model.name}.`] : told;
  }

  private colour(run: Shown, theme: Theme): void {
    const { input, target } = this.session;
    const largest = run.dependence.reduce((most, value) => Math.max(most, value), 0);
    const parts: Node[] = [];
    let index = 0;
    for (const symbol of this.field.value) {
      const step = input.steps[index++];
      if (step === undefined) break;
      const span = element("span", { text: symbol });
      if (step < 0) span.className = "unknown";
      else {
        const share = 0.75 * logShare(run.dependence[step]!, largest); // the text has to stay legible
        if (share > 0) span.style.backgroundColor = cssOf(lookUp(theme.size, share));
        if (share > 0.6 && !theme.dark) span.style.color = "#fff";
        if (share > 0.64 && theme.dark) span.style.color = "#000";
        if (step === target && this.session.movable) span.className = "target";
      }
      parts.push(span);
    }
    this.copy.replaceChildren(...parts, "\n");
    this.follow();
    this.copy.scrollTop = this.field.scrollTop;
  }
}

function count(n: number): string {
  return n.toLocaleString("en");
}
