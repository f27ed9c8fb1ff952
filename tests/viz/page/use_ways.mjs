// Says what pages tell about how far, and why, each network looks through each of its directions.
import { opened } from "./chromium.mjs";

export async function useWays(browser, path, states) {
  const told = [];
  for (const state of states) {
    const { page, said } = await opened(browser, `${path}#${state}`);
    told.push(
      await page.evaluate(() => ({
        sentence: document.getElementById("sentence").textContent,
        findings: [...document.querySelectorAll(".findings li")].map((one) => one.textContent),
        faults: [...document.querySelectorAll(".findings li")].map((one) => one.querySelectorAll("b")[1]?.textContent ?? null),
        breakpoints: [...document.querySelectorAll(".breakpoints li")].map((one) => one.textContent),
        lags: document.querySelector("aside section:last-child .note").textContent,
      })),
    );
    // another label is picked while a longer sequence is still read
    await page.evaluate(() => {
      const [area, picker] = [document.querySelector("textarea"), document.querySelector("header select")];
      area.value += "\n0 0";
      area.dispatchEvent(new Event("input"));
      picker.value = "3";
      picker.dispatchEvent(new Event("change"));
    });
    await page.waitForTimeout(300);
    told.at(-1).picked = await page.evaluate(() => document.getElementById("sentence").textContent);
    await page.setViewportSize({ width: 400, height: 800 });
    told.at(-1).clipped = await page.evaluate(() =>
      [...document.querySelectorAll(".legend")]
        .filter((one) => one.getBoundingClientRect().right > one.closest("section").getBoundingClientRect().right - 8)
        .map((one) => one.textContent),
    );
    told.at(-1).said = said;
    await page.context().close();
  }
  return told;
}
