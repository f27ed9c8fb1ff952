// Marks the steps of a text, and says which units the page finds.
// A mark is + (on), - (off) or anything else (none), one for each symbol of the page's example.
import { opened } from "./chromium.mjs";

export async function findUnit(browser, path, marks) {
  const { page, said } = await opened(browser, path);
  await page.locator(".timeline").focus();
  await page.keyboard.press("Home");
  for (const mark of marks) {
    if (mark === "+" || mark === "-") await page.keyboard.press(mark);
    await page.keyboard.press("ArrowRight");
  }
  const units = async () => {
    await page.waitForTimeout(100);
    return page.evaluate(() =>
      [...document.querySelectorAll(".found:not([hidden]) .map-name")].map((name) =>
        [...name.children].slice(0, 2).map((part) => part.textContent),
      ),
    );
  };
  const byKeys = await units();
  await page.getByRole("button", { name: "pin, unit 5", exact: true }).click();
  await page.getByRole("button", { name: "clear" }).click();
  const pinned = await units();
  await page.getByRole("button", { name: "unpin, unit 5" }).click();
  const cleared = await units();
  await page.getByRole("button", { name: "mark as on" }).click();
  await page.locator(".symbols-axis").click({ position: { x: 160, y: 10 } });
  await page.getByRole("button", { name: "mark as off" }).click();
  await page.locator(".symbols-axis").click({ position: { x: 400, y: 10 } });
  return { byKeys, pinned, cleared, byMouse: await units(), said };
}
