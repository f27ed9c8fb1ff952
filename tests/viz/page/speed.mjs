// Measures pages: node speed.mjs jobs.json seen.json. Times in milliseconds, each from a key to the finished picture.
import { readFileSync, writeFileSync } from "node:fs";
import { launched, opened } from "./chromium.mjs";

const [jobs, results] = process.argv.slice(2);
const { one, five, long } = JSON.parse(readFileSync(jobs, "utf8"));
const browser = await launched();

/** Types letters at the end of the text; for each the time to the picture, and how long the page was deaf meanwhile. */
async function typed(path) {
  const { page, firstPicture } = await opened(browser, path);
  const keys = await page.evaluate(async () => {
    const field = document.querySelector("textarea");
    const note = document.getElementById("note");
    const text = field.value;
    const found = [];
    for (const letter of "abcdefghijklmnopqrst") {
      await new Promise((resume) => setTimeout(resume, 30));
      let [deaf, last, over] = [0, performance.now(), false];
      const listen = () => {
        deaf = Math.max(deaf, performance.now() - last);
        last = performance.now();
        if (!over) setTimeout(listen, 0);
      };
      const drawn = new Promise((resume) => new MutationObserver(resume).observe(note, { childList: true }));
      const start = performance.now();
      field.value = text + letter;
      field.dispatchEvent(new Event("input"));
      listen();
      await drawn;
      await new Promise((resume) => requestAnimationFrame(() => setTimeout(resume, 0)));
      const computed = Number(/in (\d+) ms/.exec(note.textContent)[1]);
      found.push({ whole: performance.now() - start, computed, deaf });
      over = true;
    }
    return found;
  });
  await page.context().close();
  return { firstPicture, keys: keys.slice(5) }; // the first ones compile
}

/** Pictures a second while the timeline is panned, and while the page is scrolled. */
async function scrolled(path) {
  const { page } = await opened(browser, path);
  await page.waitForTimeout(500);
  const rate = await page.evaluate(async () => {
    const timeline = document.querySelector(".timeline");
    const frames = async (count, move) => {
      const start = performance.now();
      for (let i = 0; i < count; i++) {
        move(i);
        await new Promise((resume) => requestAnimationFrame(resume));
      }
      return (1000 * count) / (performance.now() - start);
    };
    const wheel = (options) => timeline.dispatchEvent(new WheelEvent("wheel", { cancelable: true, ...options }));
    for (let i = 0; i < 2; i++) wheel({ ctrlKey: true, deltaY: -1 });
    const pan = await frames(60, (i) => wheel({ deltaX: i < 30 ? 20 : -20 }));
    const scroll = await frames(60, (i) => scrollTo(0, 20 * i));
    return { pan, scroll };
  });
  await page.context().close();
  return rate;
}

const seen = { one: await typed(one), five: await typed(five), long: await scrolled(long) };
await browser.close();
writeFileSync(results, JSON.stringify(seen));
