/** What the reader has chosen: a network, a layer and a direction of it, a step, units, and limits. */
import { CHOICES, type Thresholds } from "../diagnosis";
import type { Shown } from "../session";

export class Selection {
  /** The network whose insides are shown, the layer, and the direction: 0 is forward, 1 is reverse. */
  focus = 0;
  layer = 0;
  direction = 0;
  /** The step under the mouse, and the step that the keyboard, a jump or the play button has gone to. */
  hover: number | null = null;
  held: number | null = null;
  /** The unit that the cell shows; null: the mean of all. */
  unit: number | null = null;
  pins: number[] = [];
  /** From where on a breakpoint counts. */
  readonly limits: Thresholds = { vanished: CHOICES.vanished[0]!, exploded: CHOICES.exploded[0]!, long: CHOICES.long[0]! };

  get cursor(): number | null {
    return this.hover ?? this.held;
  }

  /** The direction that is shown of a run: the chosen one, if the run has it. */
  directionOf({ model }: Shown): number {
    return Math.min(this.direction, model.network.directions - 1);
  }

  /** The place of the layer and direction that are shown of a run, whose last layer stands for one that it lacks. */
  partOf(run: Shown): number {
    const { layerCount, directions } = run.model.network;
    return Math.min(this.layer, layerCount - 1) * directions + this.directionOf(run);
  }

  /** Pins a unit, or removes its pin. */
  pin(unit: number): void {
    this.pins = this.pins.includes(unit) ? this.pins.filter((one) => one !== unit) : [...this.pins, unit];
  }
}
