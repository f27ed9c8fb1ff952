/** Colours. Texts and lines take theirs from the style sheet; maps have tables of 256 colours, for light and for dark. */
export type Table = Uint32Array;

export interface Theme {
  dark: boolean;
  text: string;
  muted: string;
  line: string;
  surface: string;
  accent: string;
  /** Of the line of a gradient, and of the belt of a state. */
  gradient: string;
  belt: string;
  /** One for each run, in turns. */
  runs: string[];
  /** For values from −1 to 1, for shares from 0 to 1, and for sizes from none to all. */
  signed: Table;
  share: Table;
  size: Table;
  unknown: number;
}

// Okabe and Ito; those too dark or too bright for the background are replaced by a lighter or darker tone.
const LIGHT = ["#d55e00", "#0072b2", "#009e73", "#b8488f", "#8a6d00", "#3a8fc4"];
const DARK = ["#ff9d57", "#6bb8f0", "#3fd0a4", "#f0a0d0", "#e6cf4d", "#a9cfee"];
/** Dashes of the lines, so that runs differ without colour too. */
export const DASHES: number[][] = [[], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [12, 4]];

type Colour = [red: number, green: number, blue: number];

export function readTheme(dark: boolean): Theme {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const surface = parse(colour("--surface"));
  return {
    dark,
    text: colour("--text"),
    muted: colour("--muted"),
    line: colour("--line"),
    surface: colour("--surface"),
    accent: colour("--accent"),
    gradient: colour("--gradient"),
    belt: colour("--belt"),
    runs: dark ? DARK : LIGHT,
    // On a dark background the middle, 0, is dark as well: a value far from 0 is what should be seen.
    signed: dark
      ? table([
          [110, 190, 255],
          [40, 110, 190],
          [30, 36, 44],
          [190, 80, 40],
          [255, 175, 110],
        ])
      : table([
          [24, 85, 150],
          [120, 180, 214],
          [247, 247, 247],
          [240, 150, 120],
          [165, 20, 40],
        ]),
    share: dark
      ? table([
          [24, 30, 38],
          [38, 70, 88],
          [72, 132, 156],
          [214, 236, 242],
        ])
      : table([
          [247, 246, 242],
          [184, 211, 216],
          [91, 147, 168],
          [28, 72, 104],
        ]),
    size: dark
      ? table([surface, [60, 52, 40], [160, 100, 40], [255, 190, 90]])
      : table([surface, [253, 224, 190], [226, 130, 60], [120, 40, 10]]),
    unknown: packed(parse(colour("--line"))),
  };
}

function parse(text: string): Colour {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (hex) return [parseInt(hex[1]!, 16), parseInt(hex[2]!, 16), parseInt(hex[3]!, 16)];
  const [red = 0, green = 0, blue = 0] = (text.match(/[\d.]+/g) ?? []).map(Number);
  return [red, green, blue];
}

/** As ImageData stores it on machines of today: red in the lowest byte. */
function packed([red, green, blue]: Colour): number {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Colours that stand at equal distances, and between them their mixtures. */
function table(stops: Colour[]): Table {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const mixed = stops[low]!.map((from, k) => Math.round(from + (at - low) * (stops[low + 1]![k]! - from)));
    return packed(mixed as Colour);
  });
}

export function cssOf(colour: number): string {
  return `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
}

/** The colour of a share from 0 to 1. */
export function lookUp(table: Table, share: number): number {
  return table[Math.max(0, Math.min(255, Math.round(255 * share)))]!;
}

/** Four decades: 1 for the largest, 0 for a ten-thousandth of it or less. */
export const DECADES = 4;
export function logShare(value: number, largest: number): number {
  if (!(value > 0) || !(largest > 0)) return 0;
  return Math.max(0, Math.min(1, 1 + Math.log10(value / largest) / DECADES));
}
