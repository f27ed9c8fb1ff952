// Uses pages as a reader does, all in one browser, and writes what was seen: node use_page.mjs jobs.json seen.json
import { readFileSync, writeFileSync } from "node:fs";
import { launched, opened } from "./chromium.mjs";
import { findUnit } from "./find_unit.mjs";
import { useLabels } from "./use_labels.mjs";

const [jobs, results] = process.argv.slice(2);
const { text, hostile, planted, marks, rows, notebook, labels } = JSON.parse(readFileSync(jobs, "utf8"));
const browser = await launched();
const { page, said, requests, firstPicture } = await opened(browser, text);

/** All that is shown: texts, and a digest of every canvas. */
const shown = () =>
  page.evaluate(() => ({
    sentence: document.getElementById("sentence").textContent,
    note: document.getElementById("note").textContent,
    readout: document.getElementById("readout").innerText,
    predictions: document.querySelector("aside section:nth-child(2)").innerText,
    findings: [...document.querySelectorAll(".findings li")].map((one) => one.textContent),
    breakpoints: [...document.querySelectorAll(".breakpoints li")].map((one) => one.textContent),
    cell: document.querySelector(".cell canvas").getAttribute("aria-label"),
    axis: document.querySelector(".unrolled canvas").getAttribute("aria-label"),
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
        const name = canvas.getAttribute("aria-label").replace(/( at step)? -?[\d.−·⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+.*/, "");
        return [name.trim(), digest];
      }),
    ),
    cursor: document.querySelector(".cursor").hidden ? null : document.querySelector(".cursor").style.transform,
    overflow: document.documentElement.scrollWidth - innerWidth,
  }));
const settled = async () => {
  await page.waitForTimeout(100);
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

await page.locator(".breakpoints button").first().click();
seen.jumped = await settled();
await page.locator(".timeline").focus();
await page.keyboard.press("Escape");

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

// a unit in the cell, chosen by its row in the map of f, and the units of all rows in the order of likeness
const map = (name) => page.locator(".map", { has: page.locator(`b:text-is("${name}")`) }).locator("canvas");
await page.getByLabel("Order of the units").selectOption("alike");
const forget = await map("f").boundingBox();
await page.mouse.move(0, 0);
seen.order = [];
for (let row = 0; row < 24; row++) {
  await map("f").hover({ position: { x: 3, y: ((row + 0.5) * forget.height) / 24 } });
  seen.order.push(await page.locator(".value").textContent());
}
await map("f").click({ position: { x: 3, y: forget.height / 2 } });
seen.unit = await settled();
await page.getByLabel("Which unit the cell shows").selectOption("");

// zoom and play
await page.locator(".timeline").focus();
await page.mouse.move(0, 0);
await page.keyboard.press("Home");
for (let i = 0; i < 3; i++) await page.keyboard.press("z");
seen.zoomed = await settled();
for (let i = 0; i < 25; i++) await page.keyboard.press("ArrowRight");
seen.panned = await settled();
await page.getByRole("button", { name: "Show all steps" }).click();
await page.locator(".timeline").focus();
await page.keyboard.press("Home");
await page.keyboard.press("p");
await page.waitForFunction(() => / at step [3-9] /.test(document.querySelector(".inside h2").textContent), null, {
  timeout: 20_000,
});
await page.keyboard.press("p");
seen.played = await settled();
// everything that can be used is reached by the key Tab
seen.reached = [];
await page.locator("header :is(select, button)").first().focus();
for (let i = 0; i < 60; i++, await page.keyboard.press("Tab")) {
  const at = await page.evaluate(() => {
    const one = document.activeElement;
    if (!document.querySelector("main").contains(one)) return null;
    return one.getAttribute("aria-label") ?? one.textContent.trim();
  });
  if (at === null) break;
  seen.reached.push(at);
}
seen.usable = await page.evaluate(
  () => [...document.querySelectorAll("main :is(button, select, textarea, [tabindex])")].filter((one) => one.offsetParent).length,
);

await page.locator(".timeline").focus();
await page.keyboard.press("Escape"); // no cursor, which a link does not hold
await page.locator("button.theme").click();
seen.dark = await settled();
seen.barriers.push(...(await barriers()));

// the page as a file: as SVG, which the browser reads again, and as PNG
seen.saved = {};
for (const kind of ["SVG", "PNG"]) {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: `Save as ${kind}` }).click(),
  ]);
  seen.saved[kind] = readFileSync(await file.path()).toString("base64");
}

await page.waitForTimeout(400);
seen.address = await page.evaluate(() => location.href);
await page.goto("about:blank");
await page.goto(seen.address);
await page.waitForFunction(() => document.querySelector(".copy span"));
seen.linked = await settled();

await field.fill(hostile);
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

const found = await findUnit(browser, planted, marks);
const labelled = await useLabels(browser, labels);

// a point of a number sequence is dragged
const numbers = await opened(browser, rows);
const field_of_rows = numbers.page.locator("textarea");
const before = await field_of_rows.inputValue();
const points = await numbers.page.locator(".points").boundingBox();
await numbers.page.mouse.move(points.x + 300, points.y + 60);
await numbers.page.mouse.down();
await numbers.page.mouse.move(points.x + 300, points.y + 20, { steps: 3 });
await numbers.page.mouse.up();
await numbers.page.waitForTimeout(100);
const dragged = { before, after: await field_of_rows.inputValue(), said: numbers.said };

// two pages in a notebook, each in a frame of its own
const ready = () => document.querySelectorAll("iframe").length === 2;
const frames = await opened(browser, notebook, ready);
const inside = [];
for (const frame of frames.page.frames().slice(1)) {
  await frame.waitForFunction(() => document.querySelector(".lane canvas")?.style.width);
  await frame.locator("textarea").fill("abc");
  await frame.waitForTimeout(400);
  inside.push(await frame.evaluate(() => document.getElementById("sentence").textContent));
}
const framed = { inside, said: frames.said };

await browser.close();
writeFileSync(results, JSON.stringify({ ...seen, found, labelled, dragged, framed, said, requests }));
