/** The page as it is seen now, as an SVG or a PNG file. */
import { recordDrawings } from "./canvas";
import { SvgContext } from "./svg";

/** Where the parts of the page are drawn to, in pixels of the page. */
interface Sheet {
  box(x: number, y: number, width: number, height: number, fill: string | null, stroke: string | null): void;
  text(text: string, x: number, y: number, font: string, colour: string): void;
  canvas(canvas: HTMLCanvasElement, x: number, y: number): void;
}

/** Of a PNG: pixels for each of the page. */
const SHARP = 2;

/** The whole page, without what only the mouse uses. */
function walk(root: HTMLElement, sheet: Sheet): void {
  const origin = root.getBoundingClientRect();
  const visit = (node: Node): void => {
    if (node instanceof Text) return texts(node, origin, sheet);
    if (!(node instanceof HTMLElement) || !node.checkVisibility() || node instanceof HTMLTextAreaElement) return;
    const place = node.getBoundingClientRect();
    const [x, y] = [place.left - origin.left, place.top - origin.top];
    if (node instanceof HTMLCanvasElement) return sheet.canvas(node, x, y);
    const style = getComputedStyle(node);
    const fill = style.backgroundColor === "rgba(0, 0, 0, 0)" ? null : style.backgroundColor;
    const framed = style.borderTopStyle === "solid" && parseFloat(style.borderTopWidth) > 0;
    const target = node.classList.contains("target"); // has a shadow in place of a border, which would move the text
    const stroke = framed ? style.borderTopColor : target ? style.getPropertyValue("--accent") : null;
    if (fill || stroke) sheet.box(x, y, place.width, place.height, fill, stroke);
    if (node instanceof HTMLSelectElement) {
      const font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
      sheet.text(node.selectedOptions[0]?.text ?? "", x + 10, y + place.height / 2, font, style.color);
      return;
    }
    node.childNodes.forEach(visit);
  };
  visit(root);
}

/** A text word by word, each where the browser has put it. */
function texts(node: Text, origin: DOMRect, sheet: Sheet): void {
  const parent = node.parentElement!;
  const style = getComputedStyle(parent);
  const font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const within = parent.closest(".field")?.getBoundingClientRect();
  const range = document.createRange();
  for (const word of node.data.matchAll(/\S+/gu)) {
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    const place = range.getBoundingClientRect();
    if (place.width === 0 || (within && (place.top < within.top || place.bottom > within.bottom))) continue;
    sheet.text(word[0], place.left - origin.left, place.top - origin.top + place.height / 2, font, style.color);
  }
}

/** `draw` draws the page again, so that its canvases can be written down. */
export function asSvg(root: HTMLElement, draw: () => void): string {
  const drawings = recordDrawings(draw);
  const { width, height } = root.getBoundingClientRect();
  const context = new SvgContext(document.createElement("canvas").getContext("2d")!);
  const parts: string[] = [];
  walk(root, {
    box(x, y, w, h, fill, stroke) {
      const paint = new SvgContext(document.createElement("canvas").getContext("2d")!);
      if (fill) paint.fillStyle = fill;
      if (fill) paint.fillRect(x, y, w, h);
      if (stroke) paint.strokeStyle = stroke;
      if (stroke) paint.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
      parts.push(paint.fragment);
    },
    text(text, x, y, font, colour) {
      context.clearRect();
      [context.font, context.fillStyle, context.textBaseline] = [font, colour, "middle"];
      context.fillText(text, x, y);
      parts.push(context.fragment);
    },
    canvas(canvas, x, y) {
      parts.push(`<g transform="translate(${x} ${y})">${drawings.get(canvas)?.fragment ?? ""}</g>`);
    },
  });
  return (
    `<svg xmlns="${namespace()}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `<rect width="100%" height="100%" fill="${getComputedStyle(document.body).backgroundColor}"/>${parts.join("")}</svg>`
  );
}

/** The name of the language, which is an address: a page that fetches nothing has none in its text. */
function namespace(): string {
  const template = document.createElement("template");
  template.innerHTML = "<svg></svg>";
  return template.content.firstElementChild!.namespaceURI!;
}

export function asPng(root: HTMLElement): Promise<Blob | null> {
  const { width, height } = root.getBoundingClientRect();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(SHARP * width), Math.ceil(SHARP * height)];
  const context = canvas.getContext("2d")!;
  context.scale(SHARP, SHARP);
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, width, height);
  walk(root, {
    box(x, y, w, h, fill, stroke) {
      if (fill) context.fillStyle = fill;
      if (fill) context.fillRect(x, y, w, h);
      if (stroke) context.strokeStyle = stroke;
      if (stroke) context.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
    },
    text(text, x, y, font, colour) {
      [context.font, context.fillStyle, context.textBaseline] = [font, colour, "middle"];
      context.fillText(text, x, y);
    },
    canvas(picture, x, y) {
      context.drawImage(picture, x, y, picture.clientWidth, picture.clientHeight);
    },
  });
  return new Promise((resume) => canvas.toBlob(resume));
}

/** Hands a file to the reader. */
export function download(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
