// Uses a page as a reader does, and writes what was seen: node use_page.mjs page.html seen.json hostile-text-as-JSON
import { readFileSync, writeFileSync } from "node:fs";
import { opened } from "./chromium.mjs";

const [path, results, hostile] = process.argv.slice(2);
const { browser, page, said, requests, firstPicture } = await opened(path);

/** All that is shown: texts, and a digest of every canvas. */
const shown = () =>
  page.evaluate(() => ({
    sentence: document.getElementById("sentence").textContent,
    note: document.getElementById("note").textContent,
    readout: document.getElementById("readout").innerText,
    predictions: document.querySelector("aside section").innerText,
    coloured: [...document.querySelectorAll(".copy span")].map((span) => [
      span.textContent,
      span.className,
      span.style.backgroundColor,
    ]),
    names: [...document.querySelectorAll(".lane-name .name")].map((name) => name.textContent),
    pictures: Object.fromEntries(
      [...document.querySelectorAll("canvas[role=img][aria-label]")].map((canvas) => {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let digest = 0;
        for (let i = 0; i < pixels.length; i += 3) digest = (digest * 31 + pixels[i]) | 0;
        return [
          canvas
            .getAttribute("aria-label")
            .replace(/-?[\d.−·⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+.*/, "")
            .trim(),
          digest,
        ];
      }),
    ),
    cursor: document.querySelector(".cursor").hidden ? null : document.querySelector(".cursor").style.transform,
    overflow: document.documentElement.scrollWidth - innerWidth,
  }));
const settled = async () => {
  await page.waitForTimeout(120);
  return shown();
};
/** What axe-core finds wrong for people who use a screen reader, a keyboard, or need contrast. */
const barriers = async () => {
  await page.evaluate(readFileSync(process.env.AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ impact, id, nodes }) => `${impact}: ${id}: ${nodes[0].html}`);
};
const seen = { firstPicture, first: await settled() };
seen.barriers = await barriers();

const field = page.locator("textarea");
await field.focus();
await page.keyboard.press("Control+End");
await page.keyboard.type("abc");
seen.typed = await settled();

await field.evaluate((area) => area.setSelectionRange(5, 5));
await field.dispatchEvent("click");
seen.looked = await settled();

await page.locator(".timeline").focus();
for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowLeft");
seen.moved = await settled();
await page.keyboard.press("Enter");
seen.entered = await settled();

await page.locator(".lane-name").first().focus();
await page.keyboard.press("Enter");
seen.focused = await settled();

await page.locator(".timeline").focus();
await page.keyboard.press("Escape"); // no cursor, which a link does not hold
await page.locator("button.theme").click();
seen.dark = await settled();
seen.barriers.push(...(await barriers()));

await page.waitForTimeout(400);
seen.address = await page.evaluate(() => location.href);
await page.goto("about:blank");
await page.goto(seen.address);
await page.waitForFunction(() => document.querySelector(".copy span"));
seen.linked = await settled();

await field.fill(JSON.parse(hostile));
seen.hostile = await settled();
seen.elements = await page.evaluate(() => document.querySelectorAll("img, iframe, script[src]").length);
const start = performance.now();
await field.fill("a".repeat(1_000_000));
await page.waitForFunction(() => document.getElementById("note").textContent.includes("left out"), null, {
  timeout: 60_000,
});
seen.megabyte = performance.now() - start;
seen.long = { ...(await settled()), coloured: [] };
await field.fill("");
seen.empty = await settled();
await field.fill("b");
seen.one = await settled();

await browser.close();
writeFileSync(results, JSON.stringify({ ...seen, said, requests }));
