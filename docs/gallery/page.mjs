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
await page.locator(".timeline").focus({ preventScroll: true });
await page.keyboard.press("Home");
await keep(1200);
for (let step = 1; step < text.length; step++) {
  await page.keyboard.press("ArrowRight");
  if (step % 2) await keep(220);
}
await keep(1500);
await browser.close();
writeFileSync(`${folder}/frames.json`, JSON.stringify(frames));
