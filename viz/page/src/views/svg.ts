/** What a canvas is asked to draw, as SVG: the part of CanvasRenderingContext2D that the views use. */

const escaped = (text: string): string =>
  text
    .replace(/[&<>"]/g, (character) => `&#${character.codePointAt(0)};`)
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/gu, "\ufffd"); // XML has no such characters
const round = (value: number): string => String(Math.round(value * 100) / 100);

const ANCHORS: Partial<Record<CanvasTextAlign, string>> = { center: "middle", right: "end", end: "end" };

export class SvgContext {
  fillStyle: string = "#000";
  strokeStyle: string = "#000";
  lineWidth = 1;
  globalAlpha = 1;
  font = "12px system-ui, sans-serif";
  textAlign: CanvasTextAlign = "left";
  textBaseline: CanvasTextBaseline = "alphabetic";
  imageSmoothingEnabled = true;
  private path = "";
  private dash: number[] = [];
  private clips = 0;
  private readonly open: number[] = [];
  private readonly parts: string[] = [];
  private static serial = 0;

  constructor(private readonly real: CanvasRenderingContext2D) {}

  get fragment(): string {
    return this.parts.join("");
  }

  setTransform(): void {}

  clearRect(): void {
    this.parts.length = 0;
  }

  measureText(text: string): TextMetrics {
    this.real.font = this.font;
    return this.real.measureText(text);
  }

  beginPath(): void {
    this.path = "";
  }

  moveTo(x: number, y: number): void {
    this.path += `M${round(x)} ${round(y)}`;
  }

  lineTo(x: number, y: number): void {
    this.path += `${this.path ? "L" : "M"}${round(x)} ${round(y)}`;
  }

  closePath(): void {
    this.path += "Z";
  }

  rect(x: number, y: number, width: number, height: number): void {
    this.path += `M${round(x)} ${round(y)}h${round(width)}v${round(height)}h${round(-width)}Z`;
  }

  /** A whole circle: the views draw no other arcs. */
  arc(x: number, y: number, r: number): void {
    const [radius, across] = [round(r), round(2 * r)];
    this.path += `M${round(x - r)} ${round(y)}a${radius} ${radius} 0 1 0 ${across} 0a${radius} ${radius} 0 1 0 -${across} 0Z`;
  }

  setLineDash(dash: number[]): void {
    this.dash = dash;
  }

  stroke(): void {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    this.parts.push(
      `<path d="${this.path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"${dash}${this.alpha}/>`,
    );
  }

  fill(): void {
    this.parts.push(`<path d="${this.path}" fill="${this.fillStyle}"${this.alpha}/>`);
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    this.beginPath();
    this.rect(x, y, width, height);
    this.fill();
  }

  strokeRect(x: number, y: number, width: number, height: number): void {
    this.beginPath();
    this.rect(x, y, width, height);
    this.stroke();
  }

  fillText(text: string, x: number, y: number): void {
    const [, weight, size, family] = /^(?:(\d+) )?([\d.]+)px (.*)$/.exec(this.font) ?? ["", "", "12", "sans-serif"];
    const anchor = ANCHORS[this.textAlign];
    this.parts.push(
      `<text x="${round(x)}" y="${round(y)}" font-family="${escaped(family!)}" font-size="${size}"` +
        (weight ? ` font-weight="${weight}"` : "") +
        (anchor ? ` text-anchor="${anchor}"` : "") +
        (this.textBaseline === "middle" ? ' dominant-baseline="central"' : "") +
        ` fill="${this.fillStyle}"${this.alpha} xml:space="preserve">${escaped(text)}</text>`,
    );
  }

  drawImage(image: HTMLCanvasElement, ...places: number[]): void {
    const [x, y, width, height] = places.slice(-4) as [number, number, number, number];
    const pixels = this.imageSmoothingEnabled ? "" : ' style="image-rendering:pixelated"';
    this.parts.push(
      `<image x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" ` +
        `preserveAspectRatio="none"${pixels} href="${image.toDataURL()}"/>`,
    );
  }

  save(): void {
    this.open.push(this.clips);
    this.clips = 0;
  }

  restore(): void {
    this.parts.push("</g>".repeat(this.clips));
    this.clips = this.open.pop() ?? 0;
  }

  clip(): void {
    const id = `clip${SvgContext.serial++}`;
    this.parts.push(`<clipPath id="${id}"><path d="${this.path}"/></clipPath><g clip-path="url(#${id})">`);
    this.clips += 1;
  }

  private get alpha(): string {
    return this.globalAlpha < 1 ? ` opacity="${this.globalAlpha}"` : "";
  }
}
