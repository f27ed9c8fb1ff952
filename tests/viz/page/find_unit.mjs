// Marks the steps of a text, and writes which units the page finds: node find_unit.mjs page.html found.json marks
// A mark is + (on), - (off) or anything else (none), one for each symbol of the page's example.
import { writeFileSync } from "node:fs";
import { opened } from "./chromium.mjs";

const [path, results, marks] = process.argv.slice(2);
const { browser, page, said } = await opened(path);
await page.locator(".timeline").focus();
await page.keyboard.press("Home");
for (const mark of marks) {
  if (mark === "+" || mark === "-") await page.keyboard.press(mark);
  await page.keyboard.press("ArrowRight");
}
await page.waitForTimeout(200);
const units = () =>
  page.evaluate(() =>
    [...document.querySelectorAll(".found:not([hidden]) .map-name")].map((name) =>
      [...name.children].map((part) => part.textContent),
    ),
  );
const byKeys = await units();
await page.getByRole("button", { name: "clear" }).click();
const cleared = await units();
await page.getByRole("button", { name: "mark as on" }).click();
const line = await page.locator(".symbols-axis").boundingBox();
await page.mouse.click(line.x + 160, line.y + 10);
await page.getByRole("button", { name: "mark as off" }).click();
await page.mouse.click(line.x + 400, line.y + 10);
await page.waitForTimeout(200);
writeFileSync(results, JSON.stringify({ byKeys, cleared, byMouse: await units(), said }));
await browser.close();
