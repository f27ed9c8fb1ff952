/** The beginning of the page's script. */
import { Page, type Asked } from "./api";
import { payloadOf, type Payload } from "./payload";
import { start } from "./views/start";

const page = "document" in globalThis;
// Without a document, as in a test that runs in node, the payload is given.
const payload = page ? payloadOf(document) : (globalThis as unknown as { rnncorePayload: Payload }).rnncorePayload;

const opened = Page.open(payload);
const api = {
  ready: opened.then(() => undefined),
  runs: (JSON.parse(payload.description) as { runs: { name: string }[] }).runs.map((run) => run.name),
  symbols: (JSON.parse(payload.description) as { symbols: string[] | null }).symbols,
  run: async (name: string, input: string | number[][], asked?: Asked) => (await opened).run(name, input, asked),
};
Object.assign(globalThis, { rnncore: api });

if (page) {
  opened.then(
    (ready) => start(document, ready),
    (error: unknown) => {
      const place = document.getElementById("sentence");
      if (place) place.textContent = `This page cannot run the networks: ${String(error)}`;
      throw error;
    },
  );
}
