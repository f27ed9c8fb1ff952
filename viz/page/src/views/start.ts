import type { Page } from "../api";
export function start(_document: Document, _page: Page): void {}
