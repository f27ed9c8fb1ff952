/** What the reader has chosen: a network and a layer of it, a step, and units. */
export class Selection {
  /** The network whose insides are shown, and the layer. */
  focus = 0;
  layer = 0;
  /** The step under the mouse, and the step that the keyboard, a jump or the play button has gone to. */
  hover: number | null = null;
  held: number | null = null;
  /** The unit that the cell shows; null: the mean of all. */
  unit: number | null = null;
  pins: number[] = [];

  get cursor(): number | null {
    return this.hover ?? this.held;
  }

  /** Pins a unit, or removes its pin. */
  pin(unit: number): void {
    this.pins = this.pins.includes(unit) ? this.pins.filter((one) => one !== unit) : [...this.pins, unit];
  }
}
