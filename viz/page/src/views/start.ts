/** Builds the page, and redraws it when something changes. */
import type { Page } from "../api";
import { Session } from "../session";
import { keepInAddress, stateOfAddress } from "./address";
import { GUTTER, TimeAxis } from "./axis";
import { element } from "./canvas";
import { Details } from "./details";
import { Editor } from "./editor";
import { Lanes } from "./lanes";
import { drawLines, type Frame, type Line } from "./lines";
import { drawPredictions } from "./predictions";
import { Readout } from "./readout";
import { Search } from "./search";
import { sentenceOf } from "./sentence";
import { DASHES, readTheme, type Theme } from "./theme";

const CHART = 112;
const ASIDE = 288;
/** After the last key, until the Jacobians are computed; and the time between two pictures of them. */
const PAUSE = 250;
const FRAME = 120;

export function start(document: Document, page: Page): void {
  const main = document.getElementById("page")!;
  main.replaceChildren();
  new View(main, page);
}

class View {
  private readonly session: Session;
  private readonly editor: Editor;
  private readonly lanes: Lanes;
  private readonly details: Details;
  private readonly search: Search;
  private readonly readout: Readout;
  private readonly sentence = element("p", { id: "sentence" });
  private readonly timeline = element("div", { class: "timeline" });
  private readonly symbols = element("canvas", { class: "symbols-axis" });
  private readonly input = element("canvas", { class: "chart" });
  private readonly flow = element("canvas", { class: "chart" });
  private readonly loss = element("canvas", { class: "chart" });
  private readonly cursorLine = element("div", { class: "cursor" });
  private readonly targetLine = element("div", { class: "target-line" });
  private readonly predictions = element("section", { class: "panel" });
  private readonly lags = element("canvas");
  private readonly lagNote = element("p", { class: "note" });
  private readonly layerPicker = element("select");
  private theme: Theme;
  private axis = new TimeAxis(600, 0);
  private focus = 0;
  private layer = 0;
  private cursor: number | null = null;
  private problem: string | null = null;
  private idle = 0;

  constructor(
    root: HTMLElement,
    private readonly page: Page,
  ) {
    const state = stateOfAddress();
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    this.session = new Session(page);
    this.session.pinned = state.look;
    this.theme = readTheme(isDark());
    const named = page.models.findIndex((model) => model.name === state.run);
    this.focus = named >= 0 ? named : page.models.length - 1;
    this.layer = state.layer;
    this.editor = new Editor(
      this.session,
      () => void this.recompute(),
      (at) => this.look(at),
    );
    this.lanes = new Lanes(this.session, (run) => this.setFocus(run));
    this.details = new Details(() => this.draw());
    this.search = new Search(this.session, () => this.draw());
    this.readout = new Readout();
    root.append(
      this.header(),
      this.editor.root,
      this.sentence,
      element("div", { class: "columns" }, this.timelinePanels(), this.aside()),
    );
    this.sentence.setAttribute("aria-live", "polite");
    new ResizeObserver(() => this.draw()).observe(this.timeline);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.retheme());
    this.editor.set((page.description.symbols && state.text) ?? page.description.examples[0]?.input ?? "");
    void this.recompute();
  }

  // ------------------------------------------------------------ building

  private header(): HTMLElement {
    const { examples, title } = this.page.description;
    const header = element("header", {}, element("h1", { text: title }));
    if (examples.length > 1) {
      const picker = element("select");
      examples.forEach(({ name }, index) => picker.append(new Option(name, String(index))));
      picker.addEventListener("change", () => {
        this.editor.set(examples[Number(picker.value)]!.input);
        this.session.pinned = null;
        void this.recompute();
      });
      header.append(labelled("Example", picker));
    }
    const most = Math.max(...this.page.models.map((model) => model.network.layerCount));
    for (let layer = 0; layer < most; layer++) this.layerPicker.append(new Option(`layer ${layer + 1}`, String(layer)));
    this.layer = Math.min(this.layer, most - 1);
    this.layerPicker.value = String(this.layer);
    this.layerPicker.addEventListener("change", () => {
      this.layer = Number(this.layerPicker.value);
      this.draw();
    });
    if (most > 1) header.append(labelled("Layer", this.layerPicker));
    const theme = element("button", { text: "Light or dark", class: "theme" });
    theme.type = "button";
    theme.addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      this.retheme();
    });
    header.append(theme);
    return header;
  }

  private timelinePanels(): HTMLElement {
    const legend = element(
      "span",
      { class: "legend" },
      "10⁻⁴ ",
      element("span", { class: "scale" }),
      " 1 of the largest",
    );
    const loss = this.page.models.some((model) => model.hasLoss) ? "loss" : "sum of outputs";
    const back = this.page.models.some((model) => model.network.cell.states === 2)
      ? ": ∂L/∂h, below it ∂L/∂c"
      : ": ∂L/∂h";
    if (!this.page.description.symbols) {
      this.timeline.append(panel("Input: each column of the rows", null, this.input));
    }
    this.timeline.append(
      panel(`How far back the gradient of that ${loss} gets${back}`, legend, this.symbols, this.lanes.root),
      panel("Size of that gradient, ‖∂L/∂h‖, at every step", null, this.flow),
    );
    if (this.page.models.some((model) => model.hasLoss)) {
      this.timeline.append(panel("Loss: how surprising each step was, in nats", null, this.loss));
    }
    this.timeline.append(this.search.root, this.details.root, this.targetLine, this.cursorLine);
    this.timeline.tabIndex = 0;
    this.timeline.setAttribute("role", "group");
    this.timeline.setAttribute(
      "aria-label",
      "Timeline. Left and right move the cursor; Enter looks at the step under it; + and − mark it for the search.",
    );
    this.timeline.addEventListener("pointermove", (event) => this.setCursor(this.stepUnder(event)));
    this.timeline.addEventListener("pointerleave", () => this.setCursor(null));
    this.timeline.addEventListener("click", (event) => {
      const step = this.stepUnder(event);
      if (step === null || (event.target as Element).closest("button, select")) return;
      if (this.search.mode === "look") this.look(step < this.session.T - 1 ? step : null);
      else this.mark(step, this.search.mode === "on");
    });
    this.timeline.addEventListener("keydown", (event) => this.key(event));
    return this.timeline;
  }

  private aside(): HTMLElement {
    const lags = panel("What a step passes on, against the lag", null, this.lags, this.lagNote);
    return element("aside", {}, this.predictions, lags, this.readout.root);
  }

  private stepUnder(event: MouseEvent): number | null {
    const x = event.clientX - this.timeline.getBoundingClientRect().left;
    return x < GUTTER || this.session.T === 0 ? null : this.axis.stepAt(x);
  }

  private key(event: KeyboardEvent): void {
    if (event.target !== this.timeline) return;
    const at = this.cursor ?? this.session.target;
    const moves: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      PageUp: at - 10,
      PageDown: at + 10,
      Home: 0,
      End: this.session.T,
    };
    if (event.key in moves) this.setCursor(Math.max(0, Math.min(this.session.T, moves[event.key]!)));
    else if (event.key === "Enter" || event.key === " ") this.look(at < this.session.T - 1 ? at : null);
    else if (event.key === "+" || event.key === "-") this.mark(at, event.key === "+");
    else if (event.key === "Escape") this.setCursor(null);
    else return;
    event.preventDefault();
  }

  // ------------------------------------------------------------ changing

  private async recompute(): Promise<void> {
    const { input, problem } = this.editor.value();
    this.problem = problem;
    const read = this.session.read(input);
    if (this.session.pinned !== null && this.session.pinned >= read.steps.length - 1) this.session.pinned = null;
    window.clearTimeout(this.idle);
    if (!(await this.session.compute(read))) return;
    this.draw();
    this.scheduleJacobians();
  }

  private look(step: number | null): void {
    if (this.session.pinned === step) return;
    this.session.look(step);
    this.draw();
    this.scheduleJacobians();
  }

  private mark(step: number, on: boolean): void {
    this.session.mark(step, on);
    this.draw();
  }

  private setFocus(run: number): void {
    this.focus = run;
    this.draw();
  }

  private setCursor(step: number | null): void {
    if (step === this.cursor) return;
    this.cursor = step;
    requestAnimationFrame(() => this.drawCursor());
  }

  private retheme(): void {
    this.theme = readTheme(isDark());
    this.draw();
  }

  /** In the time that the page has left, a few milliseconds at once. */
  private scheduleJacobians(): void {
    window.clearTimeout(this.idle);
    const { runs } = this.session;
    let drawn = performance.now();
    const go = (): void => {
      if (runs !== this.session.runs) return;
      const begun = performance.now();
      let more = true;
      while (more && performance.now() - begun < 12) more = this.session.advanceJacobians();
      if (!more || performance.now() - drawn > FRAME) {
        this.drawLags(!more);
        drawn = performance.now();
      }
      if (more) this.idle = window.setTimeout(go, 0);
    };
    this.idle = window.setTimeout(go, PAUSE);
  }

  // ------------------------------------------------------------ drawing

  private draw(): void {
    const { session, theme } = this;
    if (session.runs.length === 0) return;
    this.axis = new TimeAxis(this.timeline.clientWidth, session.T);
    const run = session.runs[this.focus]!;
    this.sentence.textContent = sentenceOf(session);
    this.editor.draw(run, theme, this.problem);
    this.axis.draw(this.symbols, session.input.symbols, session.marks, theme);
    this.lanes.draw(this.axis, this.layer, this.focus, theme);
    const frame = { width: this.axis.width, height: CHART, left: GUTTER, x: (i: number) => this.axis.middle(i) };
    this.drawInput(frame);
    const layer = (flow: { h: Float64Array }[]): Float64Array => flow[Math.min(this.layer, flow.length - 1)]!.h;
    drawLines(
      this.flow,
      this.lines((index) => layer(session.runs[index]!.flow)),
      { ...frame, logarithmic: true },
      theme,
    );
    this.label(this.flow, "Norm of the gradient of h at each step, logarithmic, for each network");
    const later = { ...frame, x: (i: number) => this.axis.middle(i + 1) }; // the loss of step t is that of t + 1
    drawLines(
      this.loss,
      this.lines((index) => session.runs[index]!.forward.losses),
      { ...later, logarithmic: false },
      theme,
    );
    this.label(this.loss, "Loss of each step for each network");
    const shown = Math.min(this.layer, run.flow.length - 1);
    this.details.draw(run, this.axis, shown, theme);
    this.search.draw(run, shown, this.axis, theme);
    this.drawLags(false);
    this.drawCursor();
    keepInAddress({
      text: this.page.description.symbols ? this.editor.field.value : null,
      look: session.pinned,
      run: run.model.name,
      layer: this.layer,
      theme: (document.documentElement.dataset.theme as "light" | "dark" | undefined) ?? null,
    });
  }

  /** The columns of rows of numbers; the networks have their colours, so these have none. */
  private drawInput(frame: Omit<Frame, "logarithmic">): void {
    const { sequence } = this.session.input;
    if (!("rows" in sequence)) return;
    const width = this.page.models[0]!.network.I;
    const lines = Array.from({ length: Math.min(width, DASHES.length) }, (_, column): Line => ({
      values: sequence.rows.filter((_, i) => i % width === column),
      colour: this.theme.text,
      dash: DASHES[column]!,
      focused: false,
    }));
    drawLines(this.input, lines, { ...frame, logarithmic: false }, this.theme);
    this.label(this.input, "The input: one line for each of the first columns");
  }

  private label(canvas: HTMLCanvasElement, words: string): void {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  }

  private lines(values: (index: number) => ArrayLike<number>): Line[] {
    return this.session.runs.map((_, index) => ({
      values: values(index),
      colour: this.theme.runs[index % this.theme.runs.length]!,
      dash: DASHES[index % DASHES.length]!,
      focused: index === this.focus,
    }));
  }

  private drawLags(done: boolean): void {
    const { runs } = this.session;
    const longest = Math.max(2, ...runs.map((run) => this.session.lossStep(run.model) + 1));
    const [left, width] = [48, ASIDE];
    const x = (lag: number): number => left + 4 + (lag / (longest - 1)) * (width - left - 12);
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => longest / n <= 5) ?? 1000;
    const ticks = [];
    for (let lag = 0; lag < longest - every / 3; lag += every) ticks.push({ at: x(lag), text: String(lag) });
    const lines = this.lines((index) => runs[index]!.walk?.norms ?? new Float64Array([1]));
    drawLines(this.lags, lines, { width, height: 190, left, x, logarithmic: true, ticks }, this.theme);
    this.label(this.lags, "Norm of the Jacobian of the state against the lag, logarithmic, for each network");
    const last = Math.min(...runs.map((run) => run.walk?.lag ?? 0));
    this.lagNote.textContent =
      "‖∂s(T)/∂s(T−k)‖ of the whole state s, T the step looked at. " +
      (done || runs.every((run) => run.walk?.done) ? "" : `Computed up to lag ${last} …`);
  }

  private drawCursor(): void {
    const { session, axis } = this;
    if (session.runs.length === 0) return;
    const place = (line: HTMLElement, step: number | null): void => {
      line.hidden = step === null || session.T === 0;
      if (step !== null) line.style.transform = `translateX(${axis.left(step)}px)`;
      line.style.width = `${Math.max(1, axis.step)}px`;
    };
    place(this.targetLine, session.T > 0 ? session.target : null);
    place(this.cursorLine, this.cursor);
    drawPredictions(
      this.predictions,
      session,
      this.cursor ?? (session.pinned === null ? session.T : session.target),
      this.focus,
      this.theme,
    );
    const step = this.cursor ?? session.lossStep(session.runs[this.focus]!.model);
    this.readout.draw(session, Math.min(step, session.T - 1), this.focus, this.layer);
  }
}

function labelled(words: string, control: HTMLElement): HTMLElement {
  return element("label", {}, element("span", { text: words }), control);
}

function panel(title: string, legend: Node | null, ...children: Node[]): HTMLElement {
  const heading = element("h2", {}, title);
  if (legend) heading.append(legend);
  return element("section", { class: "panel" }, heading, ...children);
}

function isDark(): boolean {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
