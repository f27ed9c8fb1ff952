// Runs cases as run_page.mjs does, in Chromium: node in_browser.mjs page.html cases.json results.json
import { readFileSync, writeFileSync } from "node:fs";
import { launched, opened } from "./chromium.mjs";

const [path, cases, results] = process.argv.slice(2);
const browser = await launched();
const { page, said } = await opened(browser, path);
const found = await page.evaluate(
  async (asked) => {
    await globalThis.rnncore.ready;
    const coded = (value) => {
      if (typeof value === "number") return value;
      if (!value.data) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coded(one)]));
      const bytes = new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength);
      let text = "";
      for (const byte of bytes) text += String.fromCharCode(byte);
      return { type: value.data.constructor.name, shape: value.shape, data: btoa(text) };
    };
    const all = [];
    for (const { name, input } of asked) all.push(coded(await globalThis.rnncore.run(name, input)));
    return all;
  },
  JSON.parse(readFileSync(cases, "utf8")),
);
await browser.close();
if (said.length) throw new Error(said.join("\n"));
writeFileSync(results, JSON.stringify({ found }));
