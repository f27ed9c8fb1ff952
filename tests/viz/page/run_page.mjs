// Runs a page's own script in node, without a document, on cases: node run_page.mjs page.html cases.json results.json
import { readFileSync, writeFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const [page, cases, results] = process.argv.slice(2);
const html = readFileSync(page, "utf8");
const within = (start) => html.slice(html.indexOf(start) + start.length).split("</script>", 1)[0];
globalThis.rnncorePayload = {
  description: within('<script id="description" type="application/json">'),
  arrays: within('<script id="arrays" type="text/plain">'),
  kernels: within('<script id="kernels" type="text/plain">'),
};
runInThisContext(within("<script>"));
await globalThis.rnncore.ready;

const coded = (value) => {
  if (typeof value === "number") return value;
  if (!value.data) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coded(one)]));
  const { buffer, byteOffset, byteLength } = value.data;
  const data = Buffer.from(buffer, byteOffset, byteLength).toString("base64");
  return { type: value.data.constructor.name, shape: value.shape, data };
};

const found = [];
for (const { name, input, asked } of JSON.parse(readFileSync(cases, "utf8"))) {
  try {
    found.push(coded(await globalThis.rnncore.run(name, input, asked)));
  } catch (error) {
    found.push({ error: error.message });
  }
}
writeFileSync(results, JSON.stringify({ runs: globalThis.rnncore.runs, found }));
