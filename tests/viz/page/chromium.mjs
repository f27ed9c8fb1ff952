// A page in headless Chromium with the network off; what it says on its console and asks for is kept.
const { chromium } = await import(process.env.PLAYWRIGHT);

export async function opened(path, options = {}) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  const context = await browser.newContext({ offline: true, viewport: { width: 1280, height: 800 }, ...options });
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
  await page.waitForFunction(() => document.querySelector(".lane canvas")?.style.width);
  const firstPicture = performance.now() - start;
  return { browser, page, said, requests, firstPicture };
}
