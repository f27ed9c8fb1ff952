// Types a text into a page, plays through it, and keeps the pictures: node page.mjs page.html folder text
// PLAYWRIGHT and CHROMIUM say where those are; docs/gallery/page.py calls this.
import { writeFileSync } from "node:fs";

const { chromium } = await import(process.env.PLAYWRIGHT);
const [path, folder, text] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
const context = await browser.newContext({ offline: true, viewport: { width: 1200, height: 790 }, colorScheme: "light" });
const page = await context.newPage();
await page.goto(`file://${path}`);
await page.waitForSelector(".lane canvas");
const field = page.locator("textarea");
const frames = [];
/** One picture, shown for so many milliseconds. */
const keep = async (milliseconds) => {
  await page.waitForTimeout(150);
  const name = `${String(frames.length).padStart(3, "0")}.png`;
  await page.screenshot({ path: `${folder}/${name}`, caret: "initial" });
  frames.push([name, milliseconds]);
};
const beginning = 12;
await field.fill(text.slice(0, beginning));
await field.focus();
await page.keyboard.press("Control+End");
await keep(600);
for (const symbol of text.slice(beginning)) {
  await page.keyboard.type(symbol);
  await keep(110);
}
await page.waitForTimeout(2500); // the Jacobian norms are computed while the page is idle
await keep(3500);
// into the cell: the gates of each step, from the beginning
await page.locator(".inside").evaluate((panel) => scrollTo(0, panel.getBoundingClientRect().top + scrollY - 250));
await field.blur();
const loss = await page.getByLabel("Loss of each step").boundingBox();
const column = Math.min(18, (loss.width - 158) / (text.length + 1)); // as viz/page/src/views/axis.ts has it
for (let step = 0; step < text.length; step += 2) {
  await page.mouse.move(loss.x + 144 + (step + 0.5) * column, loss.y + 20);
  await keep(step ? 240 : 1200);
}
await keep(1500);
await browser.close();
writeFileSync(`${folder}/frames.json`, JSON.stringify(frames));
