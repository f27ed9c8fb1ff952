/** Numbers and symbols as texts. */

const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export function superscript(n: number): string {
  return String(n)
    .replace("-", "⁻")
    .replace(/\d/g, (digit) => DIGITS[Number(digit)]!);
}

/** Three significant digits, without an exponent if that is short. */
export function number(value: number): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) {
    const [mantissa, exponent] = value.toExponential(1).split("e") as [string, string];
    const power = `10${superscript(Number(exponent))}`;
    return mantissa === "1.0" ? power : `${mantissa.replace("-", "−")}·${power}`;
  }
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

export function percent(share: number): string {
  const value = 100 * share;
  return value >= 10 || value === 0 ? `${value.toFixed(0)} %` : value >= 0.1 ? `${value.toFixed(1)} %` : "< 0.1 %";
}

const MARKS: Record<string, string> = { " ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍", "\0": "␀", "\u00a0": "⍽" };

/** A symbol in a place where a space must be seen. */
export function visible(symbol: string): string {
  if (symbol in MARKS) return MARKS[symbol]!;
  const code = symbol.codePointAt(0)!;
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  if (/^\p{M}/u.test(symbol)) return `◌${symbol}`; // a combining mark needs something to stand on
  if (/^[\p{Cc}\p{Cf}\p{Cs}]/u.test(symbol)) return `U+${code.toString(16).toUpperCase()}`;
  return symbol;
}

/** A piece of text between quotes: its spaces as they are. */
export function quoted(symbols: string[]): string {
  return symbols.map((symbol) => (symbol === " " ? symbol : visible(symbol))).join("");
}

/** An equation of a cell's description as a line of text: c_{t-1} becomes cₜ₋₁, or cₜ₊₁ in the reverse direction. */
export function equation(cell: { equations: string; curve: string | null }, reverse: boolean): string {
  const before = reverse ? "ₜ₊₁" : "ₜ₋₁";
  return cell.equations.replaceAll("_{t-1}", before).replaceAll("_t", "ₜ").replaceAll("φ", cell.curve ?? "φ");
}

export function steps(n: number): string {
  return n === 1 ? "1 step" : `${n} steps`;
}

/** “e”, with a space before it; nothing for rows. */
export function named(symbols: string[] | null, step: number): string {
  return symbols?.[step] === undefined ? "" : ` “${visible(symbols[step]!)}”`;
}

/** A factor above 1: whole, or a power of ten. */
export function factor(value: number): string {
  return value < 1e5 ? Math.round(value).toLocaleString("en") : number(value);
}

/** The shortest text that is this number in float32. */
export function shortest(value: number): string {
  for (let digits = 1; digits < 10; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === Math.fround(value)) return text;
  }
  return String(Math.fround(value));
}
