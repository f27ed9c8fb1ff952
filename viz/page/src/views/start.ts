/** Builds the page, and redraws it when something changes. */
import type { Page } from "../api";
import { Session } from "../session";
import { keepInAddress, stateOfAddress, type State } from "./address";
import { element } from "./canvas";
import { Editor } from "./editor";
import { drawLines } from "./lines";
import { drawPredictions } from "./predictions";
import { asPng, asSvg, download } from "./save";
import { Selection } from "./selection";
import { sentenceOf } from "./sentence";
import { readTheme, type Theme } from "./theme";
import { button, label, linesOf, panel, Timeline } from "./timeline";
import { Why } from "./why";

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
  private readonly selection = new Selection();
  private readonly editor: Editor;
  private readonly timeline: Timeline;
  private readonly why: Why;
  private readonly sentence = element("p", { id: "sentence" });
  private readonly predictions = element("section", { class: "panel" });
  private readonly lags = element("canvas");
  private readonly lagNote = element("p", { class: "note" });
  private theme: Theme;
  private problem: string | null = null;
  private idle = 0;
  private frame = 0;

  constructor(
    private readonly root: HTMLElement,
    private readonly page: Page,
  ) {
    const state = stateOfAddress();
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    this.session = new Session(page);
    this.theme = readTheme(isDark());
    this.editor = new Editor(
      this.session,
      () => void this.recompute(),
      (at) => this.look(at),
    );
    this.timeline = new Timeline(this.session, this.selection, {
      look: (step) => this.look(step),
      redraw: () => this.draw(),
      moved: () => this.moved(),
      busy: () => this.scheduleJacobians(),
      edit: (step, column, value) => {
        this.editor.change(step, column, value);
        void this.recompute();
      },
    });
    this.why = new Why(
      this.session,
      this.selection,
      (step, run) => this.jump(step, run),
      () => this.draw(),
    );
    this.restore(state);
    root.append(
      this.header(),
      this.editor.root,
      this.sentence,
      element("div", { class: "columns" }, this.timeline.root, this.aside()),
    );
    this.sentence.setAttribute("aria-live", "polite");
    new ResizeObserver(() => this.draw()).observe(this.timeline.root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.retheme());
    const { symbols, examples } = page.description;
    this.editor.set((symbols && state.text) ?? examples[this.session.example]?.input ?? "");
    void this.recompute();
  }

  // ------------------------------------------------------------ building

  private most(what: "layerCount" | "directions"): number {
    return Math.max(...this.page.models.map(({ network }) => network[what]));
  }

  private restore(state: State): void {
    const { models } = this.page;
    const { selection } = this;
    const named = models.findIndex((model) => model.name === state.run);
    this.session.pinned = state.look;
    selection.focus = named >= 0 ? named : models.length - 1;
    selection.layer = Math.min(state.layer, this.most("layerCount") - 1);
    selection.direction = Math.min(state.direction, this.most("directions") - 1);
    const { labels, examples } = this.page.description;
    this.session.label = labels && state.label !== null && state.label < labels.length ? state.label : null;
    this.session.example = Math.min(state.example, Math.max(0, examples.length - 1));
    [selection.held, selection.unit, selection.pins] = [state.at, state.unit, state.pins];
    Object.assign(selection.limits, state.limits);
    const { order } = this.timeline.details;
    if ([...order.options].some(({ value }) => value === state.order)) order.value = state.order!;
    if (state.steps !== null) [this.timeline.zoom.first, this.timeline.zoom.count] = [state.from ?? 0, state.steps];
  }

  private header(): HTMLElement {
    const { page, session, selection } = this;
    const { examples, labels, title } = page.description;
    const header = element("header", {}, element("h1", { text: title }));
    if (examples.length > 1) {
      const names = examples.map(({ name }) => name);
      header.append(
        picker("Example", names, session.example, (index) => {
          session.example = index;
          this.editor.set(examples[index]!.input);
          session.pinned = selection.held = null;
          void this.recompute();
        }),
      );
    }
    if (labels) {
      const names = ["as predicted", ...labels];
      header.append(
        picker("Label", names, session.label === null ? 0 : session.label + 1, (index) => {
          session.choose(index === 0 ? null : index - 1);
          this.draw();
          this.scheduleJacobians();
        }),
      );
    }
    const layers = Array.from({ length: this.most("layerCount") }, (_, layer) => `layer ${layer + 1}`);
    if (layers.length > 1) {
      header.append(
        picker("Layer", layers, selection.layer, (layer) => {
          selection.layer = layer;
          this.draw();
        }),
      );
    }
    if (this.most("directions") > 1) {
      header.append(
        picker("Direction", ["forward", "reverse"], selection.direction, (direction) => {
          selection.direction = direction;
          this.draw();
          this.scheduleJacobians();
        }),
      );
    }
    const theme = button("Light or dark", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      this.retheme();
    });
    theme.className = "theme";
    header.append(
      button("Save as SVG", () => this.save("svg")),
      button("Save as PNG", () => this.save("png")),
      theme,
    );
    return header;
  }

  private aside(): HTMLElement {
    const lags = panel("What a step passes on, against the lag", null, this.lags, this.lagNote);
    return element("aside", {}, this.why.root, this.predictions, lags);
  }

  // ------------------------------------------------------------ changing

  private async recompute(): Promise<void> {
    const { input, problem } = this.editor.value();
    this.problem = problem;
    const read = this.session.read(input);
    if (this.session.pinned !== null && this.session.pinned >= read.steps.length - 1) this.session.pinned = null;
    window.clearTimeout(this.idle);
    if (!(await this.session.compute(read))) return;
    if (this.selection.held !== null && this.selection.held > this.session.T) this.selection.held = null;
    this.draw();
    this.scheduleJacobians();
  }

  /** Looks at another element; where the networks are asked after the last one only, the cursor goes there. */
  private look(step: number | null): void {
    if (!this.session.movable) return this.timeline.hold(step);
    if (this.session.pinned === step) return;
    this.session.look(step);
    this.draw();
    this.scheduleJacobians();
  }

  /** Goes to a step, and shows the inside of a network there. */
  private jump(step: number, run: number): void {
    const other = run !== this.selection.focus;
    this.selection.focus = run;
    this.timeline.hold(step);
    if (!other) return;
    this.draw(); // which replaces what was pressed
    this.timeline.root.focus({ preventScroll: true });
  }

  private moved(): void {
    this.scheduleJacobians();
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.drawCursor();
      this.keep();
    });
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
      const { direction } = this.selection;
      while (more && performance.now() - begun < 12) more = this.session.advanceJacobians(direction);
      if (!more || performance.now() - drawn > FRAME) {
        this.drawLags(!more);
        drawn = performance.now();
      }
      if (more) this.idle = window.setTimeout(go, 0);
    };
    this.idle = window.setTimeout(go, PAUSE);
  }

  /** Writes the page as it is seen into a file; on the canvases it is drawn again afterwards. */
  private save(kind: "svg" | "png"): void {
    if (kind === "svg") {
      const content = asSvg(this.root, () => this.draw());
      this.draw();
      return download(new Blob([content], { type: "image/svg+xml" }), "rnncore.svg");
    }
    void asPng(this.root).then((content) => content && download(content, "rnncore.png"));
  }

  private keep(): void {
    const { selection, session } = this;
    const { zoom } = this.timeline;
    const part = zoom.count <= session.T;
    keepInAddress({
      text: this.page.description.symbols ? this.editor.field.value : null,
      look: session.pinned,
      run: this.page.models[selection.focus]!.name,
      layer: selection.layer,
      direction: selection.direction,
      label: session.label,
      example: session.example,
      limits: selection.limits,
      at: selection.held,
      unit: selection.unit,
      pins: selection.pins,
      order: this.timeline.details.order.selectedIndex > 0 ? this.timeline.details.order.value : null,
      from: part ? Math.round(zoom.within(session.T).first) : null,
      steps: part ? Math.round(zoom.count) : null,
      theme: (document.documentElement.dataset.theme as "light" | "dark" | undefined) ?? null,
    });
  }

  // ------------------------------------------------------------ drawing

  private draw(): void {
    const { session, theme, selection } = this;
    if (session.runs.length === 0) return;
    this.sentence.textContent = sentenceOf(session);
    this.editor.draw(session.runs[selection.focus]!, theme, this.problem);
    this.timeline.draw(theme);
    this.why.draw();
    this.drawLags(false);
    this.drawPredictions();
    this.keep();
  }

  private drawLags(done: boolean): void {
    const { runs } = this.session;
    const { direction } = this.selection;
    const ways = runs.map((run) => this.selection.directionOf(run));
    const walks = runs.map((run, index) => run.walks[ways[index]!]); // none has begun until the page is idle
    const longest = Math.max(2, ...runs.map((run, index) => run.ways[ways[index]!]!.room + 1));
    const [left, width] = [48, Math.max(200, this.lags.parentElement!.clientWidth - 28)];
    const x = (lag: number): number => left + 4 + (lag / (longest - 1)) * (width - left - 12);
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => longest / n <= 5) ?? 1000;
    const ticks = [];
    for (let lag = 0; lag < longest - every / 3; lag += every) ticks.push({ at: x(lag), text: String(lag) });
    const norms = (index: number): ArrayLike<number> => walks[index]?.norms ?? [1];
    const lines = linesOf(this.session, this.selection, this.theme, norms);
    drawLines(this.lags, lines, { width, height: 190, left, x, logarithmic: true, ticks }, this.theme);
    label(this.lags, "Norm of the Jacobian of the state against the lag, logarithmic, for each network");
    const both = runs.some(({ model }) => model.network.directions === 2);
    const what = both ? `state s of the ${direction === 1 ? "reverse" : "forward"} direction` : "whole state s";
    this.lagNote.textContent =
      `‖∂s(T)/∂s(T${direction === 1 ? "+" : "−"}k)‖ of the ${what}, T the step at which the gradient begins. ` +
      (done || walks.every((walk) => walk?.done) ? "" : `Computed up to lag ${Math.min(...walks.map((walk) => walk?.lag ?? 0))} …`);
  }

  private drawCursor(): void {
    if (this.session.runs.length === 0) return;
    this.timeline.drawCursor(this.theme);
    this.drawPredictions();
  }

  private drawPredictions(): void {
    const { session, selection, predictions, theme } = this;
    const at = selection.cursor ?? (session.pinned === null ? session.T : session.target);
    drawPredictions(predictions, session, at, selection.focus, theme);
  }
}

/** A choice with its name before it. */
function picker(words: string, names: string[], chosen: number, change: (index: number) => void): HTMLElement {
  const select = element("select");
  names.forEach((name, index) => select.append(new Option(name, String(index))));
  select.value = String(chosen);
  select.addEventListener("change", () => change(Number(select.value)));
  return element("label", {}, element("span", { text: words }), select);
}

function isDark(): boolean {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
