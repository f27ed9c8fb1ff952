// Uses a page of networks with labels and two directions, and says what was seen.
import { opened } from "./chromium.mjs";

export async function useLabels(browser, path) {
  const { page, said } = await opened(browser, path);
  const shown = async () => {
    await page.waitForTimeout(100);
    return page.evaluate(() => ({
      sentence: document.getElementById("sentence").textContent,
      readout: document.getElementById("readout").innerText,
      predictions: document.querySelector("aside section:nth-child(2)").innerText,
      findings: [...document.querySelectorAll(".findings li")].map((one) => one.textContent),
      breakpoints: [...document.querySelectorAll(".breakpoints li")].map((one) => one.textContent),
      reaches: [...document.querySelectorAll(".lane-name .reach")].map((one) => one.textContent),
      inside: document.querySelector(".inside h2").innerText,
      cell: document.querySelector(".cell canvas").getAttribute("aria-label"),
      lags: document.querySelector("aside section:last-child .note").textContent,
      coloured: [...document.querySelectorAll(".copy span")].map((span) => [span.className, span.style.backgroundColor]),
    }));
  };
  const press = async (...keys) => {
    await page.locator(".timeline").focus();
    for (const key of keys) await page.keyboard.press(key);
  };
  const seen = { first: await shown() };
  await press("Home", "ArrowRight", "ArrowRight", "ArrowRight");
  seen.forward = await shown();
  const picker = (name) => page.locator("header label", { hasText: name }).locator("select");
  await picker("Direction").selectOption({ label: "reverse" });
  seen.reverse = await shown();
  await picker("Label").selectOption({ label: "2" });
  seen.chosen = await shown();
  await press("Enter");
  seen.looked = await shown();
  await page.getByLabel("Share of the largest gradient below which it has vanished").selectOption("0.01");
  seen.limited = await shown();
  await page.waitForTimeout(400);
  const address = await page.evaluate(() => location.href);
  await page.goto("about:blank");
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector(".copy span"));
  seen.linked = await shown();
  return { ...seen, said };
}
