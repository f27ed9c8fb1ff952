// Pages in headless Chromium with the network off; what they say on the console and ask for is kept.
const { chromium } = await import(process.env.PLAYWRIGHT);

export const launched = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });

/** A page in a context of its own, open and drawn. */
export async function opened(browser, path, ready = () => document.querySelector(".lane canvas")?.style.width) {
  const context = await browser.newContext({ offline: true, viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const said = [];
  const requests = [];
  page.on("console", (message) => {
    if (message.text().includes("willReadFrequently")) return; // of use_page.mjs, which reads the pictures
    said.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => said.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    said.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => requests.push(request.url()));
  const start = performance.now();
  await page.goto(`file://${path}`);
  await page.waitForFunction(ready);
  const firstPicture = performance.now() - start;
  return { page, said, requests, firstPicture };
}
